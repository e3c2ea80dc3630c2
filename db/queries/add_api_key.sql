-- Two live keys of a name: one to rotate from, one to rotate to.
INSERT INTO usher.api_keys (id, name, secret_hash, routes, organizations, patterns, expires_at, created_by)
SELECT @id, @name, @secret_hash, @routes, @organizations, @patterns, @expires_at, @created_by
 WHERE (SELECT count(*)
          FROM usher.api_keys
         WHERE name = @name
           AND revoked_at IS NULL
           AND (expires_at IS NULL OR expires_at > now())) < 2
RETURNING id, name, routes, organizations, patterns, created_at, created_by, expires_at, revoked_at, revoked_by, last_used_at
