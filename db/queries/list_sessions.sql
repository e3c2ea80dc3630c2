SELECT encode(token_hash, 'hex') AS hash, user_id, coalesce(organization_id, '') AS organization_id, created_at, expires_at
  FROM usher.sessions
 WHERE (@user_id::text = '' OR user_id = @user_id)
   AND expires_at > now()
   AND (created_at, token_hash) < (coalesce(@after::timestamptz, 'infinity'), decode(@after_hash::text, 'hex'))
 ORDER BY created_at DESC, token_hash DESC
 LIMIT nullif(@limit::integer, 0)
