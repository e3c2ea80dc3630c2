UPDATE usher.admin_keys
   SET revoked_at = greatest(now(), created_at), revoked_by = @actor
 WHERE id = @id
   AND revoked_at IS NULL
RETURNING id, name, role, created_at, created_by, expires_at, revoked_at, revoked_by, last_used_at
