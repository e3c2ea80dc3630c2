-- name: add_session
INSERT INTO usher.sessions (token_hash, user_id, organization_id, expires_at)
SELECT @token_hash::bytea, @user_id::text, nullif(@organization_id::text, ''), now() + @ttl::interval
 WHERE @organization_id = ''
    OR EXISTS (SELECT FROM usher.directory_memberships(@user_id) m
                WHERE m.kind = 'organization' AND m.id = @organization_id)
RETURNING encode(token_hash, 'hex') AS hash, user_id, coalesce(organization_id, '') AS organization_id, created_at, expires_at

-- name: list_sessions
SELECT encode(token_hash, 'hex') AS hash, user_id, coalesce(organization_id, '') AS organization_id, created_at, expires_at
  FROM usher.sessions
 WHERE (@user_id::text = '' OR user_id = @user_id)
   AND expires_at > now()
   AND (created_at, token_hash) < (coalesce(@after::timestamptz, 'infinity'), decode(@after_hash::text, 'hex'))
 ORDER BY created_at DESC, token_hash DESC
 LIMIT nullif(@limit::integer, 0)

-- name: end_sessions
WITH ended AS (
    DELETE FROM usher.sessions WHERE user_id = @user_id::text
    RETURNING expires_at
)
SELECT count(*) FROM ended WHERE expires_at > now()
