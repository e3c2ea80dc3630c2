-- One group commit: the rows of all requests that wait, in one statement and
-- so in one transaction. Empty strings stand for null.
INSERT INTO usher.decisions (
    issued_at, result, reason, caller_kind, caller_id, user_id, organization_id, audience, room, store,
    patterns, partial, skipped_grants, jti, kid, expires_at, ip, user_agent, origin, request_id, replica, count, salt,
    personal_digest, digest)
SELECT issued_at, CASE WHEN jti = '' THEN 'denied' ELSE 'issued' END, nullif(reason, ''), caller_kind, nullif(caller_id, ''),
       nullif(user_id, ''), nullif(organization_id, ''), nullif(audience, ''), nullif(room, ''), nullif(store, ''),
       nullif(patterns, '')::jsonb, partial, nullif(skipped_grants, '')::bigint[], nullif(jti, ''), nullif(kid, ''), expires_at,
       nullif(ip, '')::inet, nullif(user_agent, ''), nullif(origin, ''), request_id, @replica, count, salt,
       personal_digest, digest
  FROM unnest(
    @issued_at::timestamptz[], @reason::text[], @caller_kind::text[], @caller_id::text[], @user_id::text[],
    @organization_id::text[], @audience::text[], @room::text[], @store::text[], @patterns::text[], @partial::boolean[],
    @skipped_grants::text[], @jti::text[], @kid::text[], @expires_at::timestamptz[], @ip::text[], @user_agent::text[],
    @origin::text[], @request_id::text[], @count::bigint[], @salt::bytea[], @personal_digest::bytea[], @digest::bytea[])
    AS d (issued_at, reason, caller_kind, caller_id, user_id, organization_id, audience, room, store, patterns, partial,
          skipped_grants, jti, kid, expires_at, ip, user_agent, origin, request_id, count, salt, personal_digest, digest)
