SELECT user_id, coalesce(organization_id, '') AS organization_id, created_at, expires_at
  FROM usher.sessions
 WHERE (@user_id::text = '' OR user_id = @user_id)
   AND expires_at > now()
 ORDER BY created_at DESC, user_id
