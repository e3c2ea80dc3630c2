SELECT id, recorded_at, issued_at, result, reason, caller_kind, caller_id, user_id, organization_id, audience, room, store,
       patterns, partial, skipped_grants, jti, kid, expires_at, ip, user_agent, origin, request_id, replica, count, salt,
       personal_digest, digest
  FROM audit.decision_leaves
 WHERE jti = @jti
 LIMIT 1
