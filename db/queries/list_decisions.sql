SELECT id, issued_at, recorded_at, result, reason, caller_kind, caller_id, user_id, organization_id, audience, room, store,
       patterns, partial, skipped_grants::bigint[] AS skipped_grants, jti, kid, expires_at, abbrev(ip) AS ip, user_agent, origin, request_id, replica,
       CASE WHEN count > 1 THEN count END AS count
  FROM audit.decision_leaves -- which auditors may read, too
 WHERE (@result::text = '' OR result = @result)
   AND (@reason::text = '' OR reason = @reason)
   AND (@user_id::text = '' OR user_id = @user_id)
   AND (@room::text = '' OR room = @room)
   AND (@store::text = '' OR store = @store)
   AND (@caller_id::text = '' OR caller_id = @caller_id)
   AND issued_at >= coalesce(@since::timestamptz, '-infinity')
   AND issued_at < coalesce(@until::timestamptz, 'infinity')
   AND (issued_at, id) < (coalesce(@before::timestamptz, 'infinity'), @before_id::bigint)
 ORDER BY issued_at DESC, id DESC
 LIMIT nullif(@limit::integer, 0)
