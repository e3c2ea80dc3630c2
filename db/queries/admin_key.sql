SELECT id, name, role, secret_hash,
       revoked_at IS NOT NULL AS revoked, coalesce(expires_at <= now(), false) AS expired,
       last_used_at IS NULL OR last_used_at < now() - interval '1 minute' AS note_use
  FROM usher.admin_keys
 WHERE id = @id
