-- name: insert_decisions
-- One group commit: the rows of all waiting requests in one statement, and so in one
-- transaction. An empty string means null.
INSERT INTO usher.decisions (
    issued_at, result, reason, caller_kind, caller_id, user_id, organization_id, requested_organization_id, audience, room, store,
    token_kind, patterns, claims, partial, skipped_grants, warnings, jti, kid, expires_at, ip, user_agent, origin, request_id, replica, count, salt,
    personal_digest, digest)
SELECT issued_at, CASE WHEN jti = '' THEN 'denied' ELSE 'issued' END, nullif(reason, ''), caller_kind, nullif(caller_id, ''),
       nullif(user_id, ''), nullif(organization_id, ''), nullif(requested_organization_id, ''), nullif(audience, ''), nullif(room, ''),
       nullif(store, ''), nullif(token_kind, ''), nullif(patterns, '')::jsonb, nullif(claims, '')::json, partial,
       nullif(skipped_grants, '')::bigint[], nullif(warnings, '')::text[], nullif(jti, ''), nullif(kid, ''), expires_at,
       nullif(ip, '')::inet, nullif(user_agent, ''), nullif(origin, ''), request_id, @replica, count, salt,
       personal_digest, digest
  FROM unnest(
    @issued_at::timestamptz[], @reason::text[], @caller_kind::text[], @caller_id::text[], @user_id::text[],
    @organization_id::text[], @requested_organization_id::text[], @audience::text[], @room::text[], @store::text[], @token_kind::text[],
    @patterns::text[], @claims::text[], @partial::boolean[], @skipped_grants::text[], @warnings::text[], @jti::text[], @kid::text[], @expires_at::timestamptz[], @ip::text[], @user_agent::text[],
    @origin::text[], @request_id::text[], @count::bigint[], @salt::bytea[], @personal_digest::bytea[], @digest::bytea[])
    AS d (issued_at, reason, caller_kind, caller_id, user_id, organization_id, requested_organization_id, audience, room, store,
          token_kind, patterns, claims, partial, skipped_grants, warnings, jti, kid, expires_at, ip, user_agent, origin, request_id, count, salt, personal_digest, digest)
 -- See durable.go. Evaluated once, before the commit.
 WHERE (SELECT set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, true)
               || set_config('client_min_messages', 'warning', true)) IS NOT NULL

-- name: clock
SELECT clock_timestamp()

-- name: list_decisions
SELECT id, issued_at, recorded_at, result, reason, caller_kind, caller_id, user_id, organization_id, requested_organization_id, audience,
       room, store, token_kind, patterns, claims, partial, skipped_grants::bigint[] AS skipped_grants,
       warnings::text[] AS warnings, jti, kid, expires_at, abbrev(ip) AS ip, user_agent, origin, request_id, replica,
       CASE WHEN count > 1 THEN count END AS count
  FROM audit.decision_leaves -- auditors can read this view too
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

-- name: forget_decisions
SELECT usher.forget_decisions(@user_id, @at_most)

-- name: months_before
-- Months that have a partition and ended before a time, oldest first.
SELECT month
  FROM pg_inherits i
  JOIN pg_class c ON c.oid = i.inhrelid,
       to_date(substring(c.relname FROM '^decisions_(\d{4}_\d\d)$'), 'YYYY_MM') AS month
 WHERE i.inhparent = 'usher.decisions'::regclass
   AND (month + interval '1 month') AT TIME ZONE 'UTC' <= @before
 ORDER BY month

-- name: drop_decisions
SELECT rows, first_id, last_id, staying FROM usher.drop_decisions(@month, @tries)

-- name: missing_partitions
-- Those of this month and the next three that have no partition.
SELECT to_char(month, 'YYYY-MM')
  FROM generate_series(date_trunc('month', now() AT TIME ZONE 'UTC'),
                       date_trunc('month', now() AT TIME ZONE 'UTC') + interval '3 months', interval '1 month') AS month
 WHERE NOT EXISTS (
    SELECT
      FROM pg_inherits i
      JOIN pg_class c ON c.oid = i.inhrelid
     WHERE i.inhparent = 'usher.decisions'::regclass
       AND c.relname = 'decisions_' || to_char(month, 'YYYY_MM'))
 ORDER BY month

-- name: ready
-- The message makes the transaction one that Postgres must write to disk, and to
-- a synchronous standby.
SELECT clock_timestamp(), current_setting('fsync') = 'on'
  FROM pg_logical_emit_message(true, 'usher', 'ready'),
       set_config('lock_timeout', '500ms', true)

-- name: probe_audit
-- Always rolled back. It only checks that a row can be written.
INSERT INTO usher.decisions (issued_at, result, reason, caller_kind, request_id, replica, personal_digest, digest)
VALUES (clock_timestamp(), 'denied', 'probe', 'operator', 'probe', 'probe', sha256(''), sha256(''))

-- name: make_partitions
SELECT made, in_default FROM usher.make_decision_partitions()
