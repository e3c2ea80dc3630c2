SELECT issued_at, result, reason, caller_kind, user_id, organization_id, room, store, patterns, jti, host(ip) AS ip, request_id
  FROM usher.decisions
 WHERE (@user_id::text = '' OR user_id = @user_id)
 ORDER BY issued_at DESC, id DESC
 LIMIT @at_most
