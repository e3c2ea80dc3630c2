-- name: api_key
SELECT id, name, secret_hash, routes, organizations, patterns, expires_at,
       revoked_at IS NOT NULL AS revoked, coalesce(expires_at <= now(), false) AS expired,
       revoked_at IS NULL AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute') AS note_use,
       clock_timestamp() AS at
  FROM usher.api_keys
 WHERE id = $1

-- name: note_api_key_use
UPDATE usher.api_keys
   SET last_used_at = now()
 WHERE id = @id
   AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')

-- name: lock_api_keys
SELECT FROM usher.locks WHERE name = 'api_keys' FOR UPDATE

-- name: add_api_key
-- A name may have two active keys, an old and a new one, for rotation.
INSERT INTO usher.api_keys (id, name, secret_hash, routes, organizations, patterns, expires_at, created_by)
SELECT @id, @name, @secret_hash, @routes, @organizations, @patterns, @expires_at, @created_by
 WHERE (SELECT count(*)
          FROM usher.api_keys
         WHERE name = @name
           AND revoked_at IS NULL
           AND (expires_at IS NULL OR expires_at > now())) < 2
RETURNING id, name, routes, organizations, patterns, created_at, created_by, expires_at, revoked_at, revoked_by, last_used_at

-- name: list_api_keys
SELECT id, name, routes, organizations, patterns, created_at, created_by, expires_at, revoked_at, revoked_by, last_used_at
  FROM usher.api_keys
 WHERE (@all OR revoked_at IS NULL)
   AND (name, created_at, id) > (@after_name::text, @after::timestamptz, @after_id::text)
 ORDER BY name, created_at, id
 LIMIT nullif(@limit::integer, 0)

-- name: revoke_api_key
UPDATE usher.api_keys
   SET revoked_at = greatest(now(), created_at), revoked_by = @actor
 WHERE id = @id
   AND revoked_at IS NULL
RETURNING id, name, routes, organizations, patterns, created_at, created_by, expires_at, revoked_at, revoked_by, last_used_at
