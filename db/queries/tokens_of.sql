SELECT jti, issued_at, expires_at, user_id, coalesce(organization_id, '') AS organization_id, audience,
       coalesce(room, '') AS room, coalesce(store, '') AS store, patterns, partial, caller_kind, coalesce(caller_id, '') AS caller_id,
       coalesce(host(ip), '') AS ip, coalesce(user_agent, '') AS user_agent, coalesce(origin, '') AS origin, request_id
  FROM audit.tokens_of(@user_id, @since)
 ORDER BY issued_at DESC, jti
