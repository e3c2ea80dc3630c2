INSERT INTO usher.sessions (token_hash, user_id, expires_at)
SELECT sha256(convert_to(@token, 'UTF8')), id, now() + interval '30 days'
  FROM usher.users
 WHERE id = @user_id
ON CONFLICT (token_hash) DO UPDATE SET expires_at = excluded.expires_at
