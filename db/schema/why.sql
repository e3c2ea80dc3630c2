CREATE TYPE audit.explanation AS (
    grant_id        bigint,
    subject_kind    text,
    subject_id      text,
    organization_id text,
    pattern         text,
    access          text,
    holds_from      timestamptz,
    holds_until     timestamptz,
    matches         boolean,
    counts          boolean,
    why             text
);
COMMENT ON TYPE audit.explanation IS 'A grant, and its effect for a user and an id. The row whose grant_id is null is the result of all grants.';
COMMENT ON COLUMN audit.explanation.grant_id IS 'Row of audit.grants. Null in the row of the result.';
COMMENT ON COLUMN audit.explanation.subject_kind IS 'The subject of the grant: user, group, organization or everyone.';
COMMENT ON COLUMN audit.explanation.subject_id IS 'Id of that subject. Empty for everyone.';
COMMENT ON COLUMN audit.explanation.organization_id IS 'If not null, the grant counts only in sessions whose active organization is this one.';
COMMENT ON COLUMN audit.explanation.pattern IS 'The pattern as it was granted, with its placeholders.';
COMMENT ON COLUMN audit.explanation.access IS 'Access that the grant gives. In the row of the result: the user''s access (none, read or full) in the session that gives most.';
COMMENT ON COLUMN audit.explanation.holds_from IS 'Start of the grant.';
COMMENT ON COLUMN audit.explanation.holds_until IS 'End of the grant, exclusive. Null: no end.';
COMMENT ON COLUMN audit.explanation.matches IS 'True if the pattern matches the id, for this user or for others.';
COMMENT ON COLUMN audit.explanation.counts IS 'True if the grant gives this user access to the id now. In the row of the result: true if any grant does.';
COMMENT ON COLUMN audit.explanation.why IS 'A sentence that says why the grant counts or does not. Its words may change.';

CREATE OR REPLACE FUNCTION usher.why(user_id text, kind text, id text) RETURNS SETOF audit.explanation
LANGUAGE sql STABLE ROWS 20 AS $$
    WITH listed AS MATERIALIZED (
        SELECT DISTINCT m.kind, m.id, m.organization_id FROM usher.directory_memberships(why.user_id) m
    ), template AS MATERIALIZED (
        SELECT t.pattern, t.user_id, t.organization_id, t.group_id FROM usher.templates(why.kind, why.id) t
    ), candidate AS (
        SELECT g.id
          FROM usher.grants g
         WHERE g.resource_kind = why.kind AND g.pattern = ANY (usher.plain_patterns(why.id))
        UNION
        -- Grants of matching templates, except those whose subject the id excludes:
        -- if the id contains another user, organization or group than the subject, the
        -- grant cannot match it.
        SELECT g.id
          FROM template t
          JOIN usher.grants g ON g.resource_kind = why.kind AND g.pattern = t.pattern
         WHERE g.subject_kind = 'everyone'
            OR g.subject_kind = 'user' AND (t.user_id IS NULL OR g.subject_id = t.user_id)
            OR g.subject_kind = 'organization' AND (t.organization_id IS NULL OR g.subject_id = t.organization_id)
            OR g.subject_kind = 'group' AND (t.group_id IS NULL OR g.subject_id = t.group_id)
        UNION
        SELECT g.id
          FROM (SELECT 'user' AS kind, why.user_id AS id
                UNION ALL SELECT 'everyone', ''
                UNION ALL SELECT l.kind, l.id FROM listed l) s
         CROSS JOIN LATERAL (
            SELECT g.id, g.resource_kind FROM usher.grants g WHERE g.subject_kind = s.kind AND g.subject_id = s.id AND g.revoked_at IS NULL
            UNION ALL
            SELECT g.id, g.resource_kind FROM usher.grants g WHERE g.subject_kind = s.kind AND g.subject_id = s.id AND g.revoked_at IS NOT NULL
         ) g
         WHERE g.resource_kind = why.kind
    ), counting AS MATERIALIZED (
        SELECT DISTINCT r.grant_id
          FROM usher.reach(why.user_id) r
         WHERE r.resource_kind = why.kind AND audit.pattern_matches(r.pattern, why.id)
    ), judged AS MATERIALIZED (
        SELECT g.id, g.subject_kind, g.subject_id, g.organization_id::text AS confined_to, g.pattern, g.template_shape, g.access,
               g.valid_from, g.valid_until, g.created_at, g.revoked_at, g.revoked_by, g.revoke_reason,
               t.user_id, t.organization_id, t.group_id,
               t.pattern IS NOT NULL OR g.pattern = g.template_shape AND g.pattern = ANY (usher.plain_patterns(why.id)) AS matches,
               c.grant_id IS NOT NULL AS counts,
               CASE g.subject_kind WHEN 'everyone' THEN 'for everyone' WHEN 'user' THEN 'for user ' || g.subject_id
                                   ELSE format('as member of %s %s', g.subject_kind, g.subject_id) END AS through
          FROM candidate
          JOIN usher.grants g ON g.id = candidate.id
          LEFT JOIN template t ON t.pattern = g.pattern
          LEFT JOIN counting c ON c.grant_id = g.id
    )
    SELECT NULL::bigint, NULL, NULL, NULL, NULL, r.access, NULL, NULL, NULL::boolean, r.access <> 'none',
           CASE WHEN u.disabled IS NULL THEN format('The directory does not list user %s.', why.user_id)
                WHEN u.disabled THEN format('User %s is disabled.', why.user_id)
                WHEN r.access = 'none' THEN 'No grant counts.'
                WHEN r.grants = 1 THEN format('Grant %s counts, %s.', r.first, r.first_through)
                ELSE format('%s grants count: %s.', r.grants, r.list) END
      FROM (SELECT coalesce(max(j.access) FILTER (WHERE j.access = 'full'), max(j.access), 'none') AS access, count(*) AS grants,
                   min(j.id) AS first, min(j.through) AS first_through, string_agg(format('%s (%s)', j.id, j.through), ', ' ORDER BY j.id) AS list
              FROM judged j WHERE j.counts) r
      LEFT JOIN usher.directory_user(why.user_id) u ON true
    UNION ALL
    SELECT j.id, j.subject_kind, j.subject_id, j.confined_to, j.pattern, j.access,
           greatest(j.valid_from, j.created_at), least(j.valid_until, j.revoked_at), j.matches, j.counts,
           CASE WHEN j.counts THEN format('It counts, %s%s.', j.through, ', where organization ' || j.confined_to || ' is active')
                WHEN NOT audit.is_template(why.kind, j.pattern) THEN 'Its pattern is not valid: it is skipped.'
                WHEN NOT j.matches THEN 'Its pattern does not match the id.'
                WHEN j.revoked_at IS NOT NULL THEN format('It was revoked at %s by %s%s.', d.revoked_at, j.revoked_by, ': ' || j.revoke_reason)
                WHEN j.valid_from > now() THEN format('It starts at %s.', d.valid_from)
                WHEN j.valid_until <= now() THEN format('It ended at %s.', d.valid_until)
                WHEN j.subject_kind = 'user' AND j.subject_id <> why.user_id THEN format('It is for user %s.', j.subject_id)
                WHEN j.subject_kind IN ('group', 'organization') AND NOT EXISTS (SELECT FROM listed l WHERE l.kind = j.subject_kind AND l.id = j.subject_id)
                THEN format('It is for %s %s, and the user is not a member.', j.subject_kind, j.subject_id)
                WHEN j.confined_to IS NOT NULL AND NOT EXISTS (SELECT FROM listed l WHERE l.kind = 'organization' AND l.id = j.confined_to)
                THEN format('It is confined to organization %s, and the user is not a member.', j.confined_to)
                WHEN j.confined_to IS NOT NULL AND j.subject_kind IN ('group', 'organization')
                     AND NOT EXISTS (SELECT FROM listed l WHERE l.kind = j.subject_kind AND l.id = j.subject_id AND l.organization_id = j.confined_to)
                THEN format('It is confined to organization %s, and %s %s does not belong to it.', j.confined_to, j.subject_kind, j.subject_id)
                WHEN u.disabled IS NULL THEN 'The directory does not list the user.'
                WHEN u.disabled THEN 'The user is disabled.'
                WHEN j.user_id <> why.user_id AND NOT EXISTS (SELECT FROM audit.expand(why.kind, '{user}' || s.after, why.user_id, NULL, NULL))
                THEN 'The user''s id does not fit its template: it is empty, or contains a separator or a character that is not allowed.'
                ELSE format('Its template matches the id only for %s%s.',
                            concat_ws(' and ', 'user ' || j.user_id, 'members of organization ' || j.organization_id, 'members of group ' || j.group_id),
                            coalesce(', where organization ' || j.confined_to || ' is active', '')) END
      FROM judged j
     CROSS JOIN LATERAL (SELECT to_char(j.revoked_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS revoked_at,
                                to_char(j.valid_from AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS valid_from,
                                to_char(j.valid_until AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS valid_until) d
     CROSS JOIN LATERAL (SELECT trim('*' FROM left(split_part(j.pattern, '{user}', 2), 1)) AS after) s
      LEFT JOIN usher.directory_user(why.user_id) u ON true
$$;

CREATE OR REPLACE FUNCTION audit.why(user_id text, kind text, id text) RETURNS SETOF audit.explanation
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off AS $$
BEGIN
    PERFORM usher.check_question(kind, id);
    RETURN QUERY SELECT e.* FROM usher.why(why.user_id, why.kind, why.id) e;
END
$$;
COMMENT ON FUNCTION audit.why(text, text, text) IS 'Why a user can open a room or store now, or why not. First the result, then each grant of that kind, past ones too, whose pattern matches the id or whose subject is the user, everyone, or a group or organization of the user.';
