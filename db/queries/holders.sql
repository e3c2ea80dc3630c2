SELECT user_id, access, jti, issued_at, expires_at, coalesce(organization_id, '') AS organization_id, audience, caller_kind,
       coalesce(caller_id, '') AS caller_id
  FROM audit.holders(@kind, @id, @at)
 WHERE (user_id COLLATE "C", issued_at, jti) > (@after_user_id::text, @after_issued_at::timestamptz, @after_jti::text)
 ORDER BY user_id COLLATE "C", issued_at, jti
 LIMIT nullif(@limit::integer, 0)
