SELECT id, name, secret_hash, routes, organizations, patterns,
       revoked_at IS NOT NULL AS revoked, coalesce(expires_at <= now(), false) AS expired,
       revoked_at IS NULL AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute') AS note_use
  FROM usher.api_keys
 WHERE id = $1
