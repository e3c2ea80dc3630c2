-- name: who_can
SELECT principal_kind, principal_id, access, grant_id, through_kind, through_id, pattern, organization_id
  FROM (SELECT principal_kind, principal_id COLLATE "C" AS principal_id, access, coalesce(grant_id, 0) AS grant_id,
               through_kind, through_id, pattern, coalesce(organization_id, '') AS organization_id
          FROM audit.who_can(@kind, @id, @access)) o
 WHERE (principal_kind, principal_id, access, grant_id, pattern, organization_id, through_kind, through_id)
     > (@after_principal_kind::text, @after_principal_id::text, @after_access::text, @after_grant_id::bigint, @after_pattern::text,
        @after_organization_id::text, @after_through_kind::text, @after_through_id::text)
 ORDER BY principal_kind, principal_id, access, grant_id, pattern, organization_id, through_kind, through_id
 LIMIT nullif(@limit::integer, 0)

-- name: who_could
SELECT principal_kind, principal_id, access, grant_id, through_kind, through_id, pattern, organization_id
  FROM (SELECT principal_kind, principal_id COLLATE "C" AS principal_id, access, coalesce(grant_id, 0) AS grant_id,
               through_kind, through_id, pattern, coalesce(organization_id, '') AS organization_id
          FROM audit.who_could(@kind, @id, @at, @access)) o
 WHERE (principal_kind, principal_id, access, grant_id, pattern, organization_id, through_kind, through_id)
     > (@after_principal_kind::text, @after_principal_id::text, @after_access::text, @after_grant_id::bigint, @after_pattern::text,
        @after_organization_id::text, @after_through_kind::text, @after_through_id::text)
 ORDER BY principal_kind, principal_id, access, grant_id, pattern, organization_id, through_kind, through_id
 LIMIT nullif(@limit::integer, 0)

-- name: what_can
SELECT resource_kind, pattern, access, grant_id, granted, through_kind, through_id, organization_id
  FROM (SELECT resource_kind, pattern COLLATE "C" AS pattern, access, grant_id, granted, through_kind, through_id,
               coalesce(organization_id, '') AS organization_id
          FROM audit.what_can(@user_id)) r
 WHERE (resource_kind, pattern, access, grant_id, organization_id, through_kind, through_id)
     > (@after_resource_kind::text, @after_pattern::text, @after_access::text, @after_grant_id::bigint, @after_organization_id::text,
        @after_through_kind::text, @after_through_id::text)
 ORDER BY resource_kind, pattern, access, grant_id, organization_id, through_kind, through_id
 LIMIT nullif(@limit::integer, 0)

-- name: why
-- Sorted: the result, then grants that count, then grants that match the id, then
-- the rest.
SELECT coalesce(grant_id, 0) AS grant_id, coalesce(subject_kind, '') AS subject_kind, coalesce(subject_id, '') AS subject_id,
       coalesce(organization_id, '') AS organization_id, coalesce(pattern, '') AS pattern, access, holds_from, holds_until,
       coalesce(matches, false) AS matches, counts, why
  FROM audit.why(@user_id, @kind, @id) e
 ORDER BY e.grant_id IS NOT NULL, counts DESC, matches DESC, grant_id

-- name: holders
SELECT user_id, access, jti, issued_at, expires_at, coalesce(organization_id, '') AS organization_id, audience, caller_kind,
       coalesce(caller_id, '') AS caller_id
  FROM audit.holders(@kind, @id, @at)
 WHERE (user_id COLLATE "C", issued_at, jti) > (@after_user_id::text, @after_issued_at::timestamptz, @after_jti::text)
 ORDER BY user_id COLLATE "C", issued_at, jti
 LIMIT nullif(@limit::integer, 0)

-- name: tokens_of
SELECT 0::bigint AS id, issued_at, recorded_at, 'issued' AS result, NULL AS reason, caller_kind, caller_id, user_id, organization_id,
       requested_organization_id, audience, room, store, token_kind, patterns, claims::text AS claims, partial, skipped_grants, warnings, jti, kid, expires_at, abbrev(ip) AS ip, user_agent, origin,
       request_id, replica, NULL::bigint AS count
  FROM audit.tokens_of(@user_id, @since)
 ORDER BY issued_at DESC, jti

-- name: unused_grants
SELECT id, subject_kind, subject_id, coalesce(organization_id, '') AS organization_id, resource_kind, pattern, access,
       valid_from, valid_until, coalesce(reason, '') AS reason, created_at, created_by,
       revoked_at, coalesce(revoked_by, '') AS revoked_by, coalesce(revoke_reason, '') AS revoke_reason
  FROM audit.unused_grants(@since)
 ORDER BY id

-- name: risky_grants
SELECT reason, coalesce(grant_id, 0) AS grant_id, coalesce(api_key_id, '') AS api_key_id, coalesce(subject_kind, '') AS subject_kind,
       coalesce(subject_id, '') AS subject_id, coalesce(organization_id, '') AS organization_id, coalesce(resource_kind, '') AS resource_kind,
       coalesce(pattern, '') AS pattern, coalesce(access, '') AS access, created_at, created_by
  FROM audit.risky_grants
 ORDER BY reason, grant_id, api_key_id

-- name: membership_history
SELECT user_id, kind AS member_of_kind, id AS member_of_id, since, until, added_by, coalesce(ended_by, '') AS ended_by
  FROM audit.members
 WHERE @kind::text = 'user' AND user_id = @id::text OR kind = @kind AND id = @id
 ORDER BY since, user_id COLLATE "C", kind, id COLLATE "C"

-- name: health
-- The maintenance of the database, for usher doctor: tables that were never
-- analyzed, and whether the server logs statements with their parameters.
SELECT ARRAY(SELECT relname::text
               FROM pg_stat_all_tables
              WHERE schemaname = 'usher' AND n_live_tup > 10000 AND last_analyze IS NULL AND last_autoanalyze IS NULL
              ORDER BY relname) AS never_analyzed,
       current_setting('autovacuum') = 'off' AS no_autovacuum,
       -- Of statements that end in time: a look-up takes less than a second.
       (current_setting('log_statement') IN ('all', 'mod')
        OR (SELECT bool_or(s.setting::integer BETWEEN 0 AND 999) FROM pg_settings s WHERE s.name IN ('log_min_duration_statement', 'log_min_duration_sample')))
           AND current_setting('log_parameter_max_length') <> '0'
           OR current_setting('log_parameter_max_length_on_error') <> '0' AS logs_parameters,
       pg_size_pretty(pg_database_size(current_database())) AS database_size,
       (SELECT pg_size_pretty(max(pg_total_relation_size(inhrelid))) FROM pg_inherits WHERE inhparent = 'usher.decisions'::regclass) AS largest_month
