-- name: admin_key
SELECT id, name, role, secret_hash,
       revoked_at IS NOT NULL AS revoked, coalesce(expires_at <= now(), false) AS expired,
       last_used_at IS NULL OR last_used_at < now() - interval '1 minute' AS note_use
  FROM usher.admin_keys
 WHERE id = @id

-- name: note_admin_key_use
UPDATE usher.admin_keys
   SET last_used_at = now()
 WHERE id = @id
   AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')

-- name: lock_admin_keys
SELECT FROM usher.locks WHERE name = 'admin_keys' FOR UPDATE

-- name: add_admin_key
-- A name may have two active keys, an old and a new one, for rotation.
INSERT INTO usher.admin_keys (id, name, role, secret_hash, expires_at, created_by)
SELECT @id, @name, @role, @secret_hash, @expires_at, @created_by
 WHERE (SELECT count(*)
          FROM usher.admin_keys
         WHERE name = @name
           AND revoked_at IS NULL
           AND (expires_at IS NULL OR expires_at > now())) < 2
RETURNING id, name, role, created_at, created_by, expires_at, revoked_at, revoked_by, last_used_at

-- name: list_admin_keys
SELECT id, name, role, created_at, created_by, expires_at, revoked_at, revoked_by, last_used_at
  FROM usher.admin_keys
 WHERE @all OR revoked_at IS NULL
 ORDER BY name, created_at, id

-- name: revoke_admin_key
UPDATE usher.admin_keys
   SET revoked_at = greatest(now(), created_at), revoked_by = @actor
 WHERE id = @id
   AND revoked_at IS NULL
RETURNING id, name, role, created_at, created_by, expires_at, revoked_at, revoked_by, last_used_at
