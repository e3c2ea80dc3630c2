INSERT INTO usher.sessions (token_hash, user_id, organization_id, expires_at)
SELECT @token_hash::bytea, @user_id::text, nullif(@organization_id::text, ''), now() + @ttl::interval
 WHERE @organization_id = ''
    OR EXISTS (SELECT FROM usher.directory_memberships(@user_id) m
                WHERE m.kind = 'organization' AND m.id = @organization_id)
RETURNING encode(token_hash, 'hex') AS hash, user_id, coalesce(organization_id, '') AS organization_id, created_at, expires_at
