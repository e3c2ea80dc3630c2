SELECT id, name, role, created_at, created_by, expires_at, revoked_at, revoked_by, last_used_at
  FROM usher.admin_keys
 WHERE @all OR revoked_at IS NULL
 ORDER BY name, created_at, id
