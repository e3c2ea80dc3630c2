-- Two live keys of a name: one to rotate from, one to rotate to.
INSERT INTO usher.admin_keys (id, name, role, secret_hash, expires_at, created_by)
SELECT @id, @name, @role, @secret_hash, @expires_at, @created_by
 WHERE (SELECT count(*)
          FROM usher.admin_keys
         WHERE name = @name
           AND revoked_at IS NULL
           AND (expires_at IS NULL OR expires_at > now())) < 2
RETURNING id, name, role, created_at, created_by, expires_at, revoked_at, revoked_by, last_used_at
