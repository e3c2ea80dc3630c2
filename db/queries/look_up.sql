-- name: look_up_principals
-- Everything that a token depends on, in one row: the session, its user, the
-- memberships that count, and the active grants. One statement serves all waiting
-- requests, because starting it costs Postgres as much as one look-up.
--
-- A session with an active organization is confined to it: only that organization,
-- its groups and grants confined to it count. If the directory no longer lists the
-- membership, no organization and no group counts.
--
-- $1 are what the directory in force finds sessions by: session tokens, or their
-- hashes in usher's own. If one is null, $2 and $3 are a user that an API key, an
-- identity provider or a proxy vouches for, and an organization, which counts like a
-- session's active one. Arguments have numbers, because named arguments are parsed
-- again for each call. They are in sub-selects, because Postgres would otherwise see
-- the length of the arrays, and plan again for each length.
SELECT asked.n, p.*
  FROM unnest((SELECT $1::text[]), (SELECT $2::text[]), (SELECT $3::text[])) WITH ORDINALITY AS asked (token, user_id, organization_id, n)
 CROSS JOIN LATERAL (
    WITH session AS MATERIALIZED (
        SELECT user_id, organization_id, expires_at FROM usher.directory_session(asked.token) WHERE asked.token IS NOT NULL
        UNION ALL
        SELECT asked.user_id, asked.organization_id, NULL WHERE asked.token IS NULL
    ), listed AS MATERIALIZED (
        SELECT DISTINCT m.kind, m.id, m.organization_id -- an application may list a membership twice
          FROM session s, usher.directory_memberships(s.user_id) m
    ), active AS MATERIALIZED (
        SELECT s.organization_id IS NOT NULL AS confined,
               (SELECT l.id FROM listed l WHERE l.kind = 'organization' AND l.id = s.organization_id) AS organization_id
          FROM session s
    ), member AS MATERIALIZED (
        SELECT l.kind, l.id
          FROM listed l, active a
         WHERE NOT a.confined OR l.organization_id = a.organization_id
    ), subject AS (
        SELECT 'user' AS kind, user_id AS id FROM session
        UNION ALL SELECT 'everyone', '' FROM session
        UNION ALL SELECT kind, id FROM member
    )
    SELECT s.user_id, s.expires_at, coalesce(s.expires_at <= now(), false) AS expired,
           a.organization_id,
           clock_timestamp() AS at,
           u.disabled IS NOT NULL AS known, u.info, coalesce(u.disabled, false) AS disabled,
           (SELECT coalesce(array_agg(id), '{}') FROM member WHERE kind = 'organization') AS organizations,
           (SELECT coalesce(array_agg(id), '{}') FROM member WHERE kind = 'group') AS groups,
           g.*
      FROM session s
     CROSS JOIN active a
      LEFT JOIN usher.directory_user(s.user_id) u ON true
     CROSS JOIN LATERAL (
        SELECT coalesce(array_agg(g.id), '{}') AS grant_ids,
               coalesce(array_agg(g.subject_kind), '{}') AS grant_subject_kinds,
               coalesce(array_agg(g.subject_id), '{}') AS grant_subject_ids,
               coalesce(array_agg(g.resource_kind), '{}') AS grant_kinds,
               coalesce(array_agg(g.pattern), '{}') AS grant_patterns,
               coalesce(array_agg(g.access), '{}') AS grant_access,
               coalesce(array_agg(g.valid_until), '{}') AS grant_untils
          FROM subject
         -- OFFSET 0: the grants of each subject by the index. With statistics that are
         -- older than an import, Postgres would compare each grant with each subject.
         CROSS JOIN LATERAL (
            SELECT *
              FROM usher.grants g
             WHERE g.subject_kind = subject.kind AND g.subject_id = subject.id
               AND g.revoked_at IS NULL
               AND g.valid_from <= greatest(now(), g.created_at) -- by default from its commit on, even if a clock was set back
               AND (g.valid_until IS NULL OR g.valid_until > now())
               AND (g.organization_id IS NULL OR g.organization_id = a.organization_id)
            OFFSET 0
         ) g
     ) g
 ) p
