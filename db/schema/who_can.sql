-- Views and functions for auditors: who can open an id, who could, what a user can
-- open, and why. They are in this file and in members, who_could, what_can, why,
-- holders and reports.
--
-- Questions about now read the directory through its functions and views, so they
-- work for an application's tables too. Questions about the past read usher's own
-- tables. The functions are SECURITY DEFINER, so that usher_auditor needs only
-- schema audit. They are PL/pgSQL, which caches plans, with a generic plan each:
-- planning costs more than the look-up, and a plan for one id may be bad for the
-- next one. JIT is off, because compiling costs more than it gains. The helper
-- functions in schema usher are plain SQL, which Postgres inlines into those
-- plans. The prefixes of an id and the subjects of a user are looked up by index;
-- no table is scanned.

-- Returns the patterns without a placeholder that match an id: its prefixes.
-- Patterns contain braces only around placeholders, so a plain pattern cannot
-- reach beyond the first brace of an id.
CREATE OR REPLACE FUNCTION usher.plain_patterns(id text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    literal text := split_part(split_part(id, '{', 1), '}', 1);
BEGIN
    RETURN (SELECT array_agg(left(literal, n) || '*') FROM generate_series(0, char_length(literal)) n)
        || CASE WHEN literal = id THEN ARRAY[id] ELSE '{}' END; -- never null: = ANY would then be null
END
$$;

-- Returns the templates that can match an id, and the values of their placeholders
-- that the id contains. Templates are found by the literal before the first
-- placeholder. The query jumps from one to the next in the index, so that each
-- template is read once, however many grants have it. PL/pgSQL, so that Postgres
-- does not inline it: it would then expect thousands of rows, and scan.
CREATE OR REPLACE FUNCTION usher.templates(kind text, id text) RETURNS TABLE (pattern text, user_id text, organization_id text, group_id text)
LANGUAGE plpgsql STABLE ROWS 2 SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY
    WITH RECURSIVE template AS (
        SELECT h.head,
               (SELECT g.pattern FROM usher.grants g
                 WHERE g.resource_kind = templates.kind AND split_part(g.pattern, '{', 1) = h.head AND g.pattern <> g.template_shape
                 ORDER BY g.pattern LIMIT 1) AS pattern
          FROM (SELECT left(templates.id, n) FROM generate_series(0, char_length(templates.id)) n) h (head)
        UNION ALL
        SELECT t.head,
               (SELECT g.pattern FROM usher.grants g
                 WHERE g.resource_kind = templates.kind AND split_part(g.pattern, '{', 1) = t.head AND g.pattern <> g.template_shape
                   AND g.pattern > t.pattern
                 ORDER BY g.pattern LIMIT 1)
          FROM template t
         WHERE t.pattern IS NOT NULL
    )
    SELECT t.pattern, v.user_id, v.organization_id, v.group_id
      FROM template t
     CROSS JOIN LATERAL audit.template_values(templates.kind, t.pattern, templates.id) v
     WHERE t.pattern IS NOT NULL AND v.matches;
END
$$;

-- Returns the grants of one pattern to one subject. A template may have thousands
-- of grants, each to another subject. Most patterns have few, so Postgres would
-- read all grants of the pattern; OFFSET prevents that.
CREATE OR REPLACE FUNCTION usher.grants_of(resource_kind text, pattern text, subject_kind text, subject_id text) RETURNS TABLE (id bigint)
LANGUAGE sql STABLE ROWS 1 AS $$
    SELECT g.id
      FROM usher.grants g
     WHERE g.resource_kind = grants_of.resource_kind AND g.pattern = grants_of.pattern
       AND g.subject_kind = grants_of.subject_kind AND g.subject_id = grants_of.subject_id
    OFFSET 0
$$;

CREATE TYPE audit.opening AS (
    principal_kind  text,
    principal_id    text,
    access          text,
    grant_id        bigint,
    through_kind    text,
    through_id      text,
    pattern         text,
    organization_id text
);
COMMENT ON TYPE audit.opening IS 'A principal who can open an id, and a grant that allows it.';
COMMENT ON COLUMN audit.opening.principal_kind IS 'user, everyone (all users of the directory, through a grant to everyone without a placeholder), or api_key (whoever has the key can get a token).';
COMMENT ON COLUMN audit.opening.principal_id IS 'Id of the user or the API key. Empty for everyone.';
COMMENT ON COLUMN audit.opening.access IS 'Access that this grant gives: read or full. The strongest counts.';
COMMENT ON COLUMN audit.opening.grant_id IS 'Row of audit.grants. Null for an API key, which has a scope.';
COMMENT ON COLUMN audit.opening.through_kind IS 'The subject of the grant: user, group, organization or everyone. api_key for a key.';
COMMENT ON COLUMN audit.opening.through_id IS 'Id of that subject. Empty for everyone.';
COMMENT ON COLUMN audit.opening.pattern IS 'The pattern as it was granted, with its placeholders.';
COMMENT ON COLUMN audit.opening.organization_id IS 'The session must have this active organization, or the request with an API key must name it. Null if no active organization is needed. In a session with an active organization, only groups, organizations and values of placeholders of that organization count.';

-- PL/pgSQL, so that Postgres does not inline it and runs it only if a key needs it.
CREATE OR REPLACE FUNCTION usher.has_active_user(at timestamptz) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF at IS NULL THEN
        RETURN EXISTS (SELECT FROM usher.directory_users u WHERE NOT u.disabled);
    END IF;
    RETURN EXISTS (SELECT FROM usher.user_states s CROSS JOIN LATERAL usher.is_active_at(has_active_user.at, s.user_id::text)
                    WHERE s.state = 'enabled' AND s.since <= has_active_user.at);
END
$$;

-- Returns who can open an id at one time: now if at is null. It converts ids from
-- the grants to the default collation. A function that gets an id with collation
-- "C" compares by "C", and could not use an index of another collation. The
-- collation of the directory's tables must decide.
CREATE OR REPLACE FUNCTION usher.openings(at timestamptz, kind text, id text, access text) RETURNS SETOF audit.opening
LANGUAGE sql STABLE ROWS 100 AS $$
    WITH template AS MATERIALIZED (
        SELECT t.pattern, t.user_id, t.organization_id, t.group_id FROM usher.templates(openings.kind, openings.id) t
    ), found AS (
        -- Grants whose pattern matches the id, and grants whose template can match it.
        SELECT g.id, NULL AS user_id, NULL AS organization_id, NULL AS group_id
          FROM usher.grants g
         WHERE g.resource_kind = openings.kind AND g.pattern = ANY (usher.plain_patterns(openings.id))
        UNION
        SELECT g.id, t.user_id, t.organization_id, t.group_id
          FROM template t
         CROSS JOIN LATERAL (VALUES ('everyone', ''), ('user', t.user_id), ('organization', t.organization_id), ('group', t.group_id)) s (kind, id)
         CROSS JOIN LATERAL usher.grants_of(openings.kind, t.pattern, s.kind, s.id) g
         WHERE s.id IS NOT NULL
        UNION
        -- The template does not determine the subject: the users whose values it contains do.
        SELECT g.id, t.user_id, t.organization_id, t.group_id
          FROM template t
         CROSS JOIN LATERAL (VALUES ('user', t.user_id), ('organization', t.organization_id), ('group', t.group_id)) k (kind, id)
         CROSS JOIN LATERAL (
            SELECT t.user_id AS id WHERE t.user_id IS NOT NULL
            UNION ALL SELECT m.user_id COLLATE "default" FROM usher.members_at(openings.at, 'group', t.group_id) m
                       WHERE t.user_id IS NULL AND t.group_id IS NOT NULL
            UNION ALL SELECT m.user_id COLLATE "default" FROM usher.members_at(openings.at, 'organization', t.organization_id) m
                       WHERE t.user_id IS NULL AND t.group_id IS NULL
         ) c
         CROSS JOIN LATERAL (
            SELECT c.id WHERE k.kind = 'user'
            UNION ALL SELECT m.id COLLATE "default" FROM usher.memberships_at(openings.at, c.id) m WHERE m.kind = k.kind
         ) s
         CROSS JOIN LATERAL usher.grants_of(openings.kind, t.pattern, k.kind, s.id) g
         WHERE k.id IS NULL
           AND EXISTS (SELECT FROM usher.grants o WHERE o.resource_kind = openings.kind AND o.pattern = t.pattern AND o.subject_kind = k.kind)
    ), held AS MATERIALIZED (
        SELECT g.id, g.subject_kind, g.subject_id COLLATE "default" AS subject_id, g.organization_id::text COLLATE "default" AS confined_to,
               g.pattern, g.access, f.user_id, f.organization_id, f.group_id
          FROM found f
          JOIN usher.grants g ON g.id = f.id
         WHERE usher.holds_at(openings.at, g.valid_from, g.valid_until, g.created_at, g.revoked_at)
           AND (openings.access = 'read' OR g.access = openings.access)
    ), person AS MATERIALIZED (
        SELECT DISTINCT c.user_id, h.access, h.id, h.subject_kind, h.subject_id, h.pattern, h.confined_to, h.organization_id, h.group_id
          FROM held h
         CROSS JOIN LATERAL (
            SELECT h.user_id WHERE h.user_id IS NOT NULL
            UNION ALL SELECT h.subject_id WHERE h.user_id IS NULL AND h.subject_kind = 'user'
            UNION ALL SELECT m.user_id COLLATE "default" FROM usher.members_at(openings.at, h.subject_kind, h.subject_id) m
                       WHERE h.user_id IS NULL AND h.subject_kind IN ('group', 'organization')
            UNION ALL SELECT m.user_id COLLATE "default" FROM usher.members_at(openings.at, 'group', h.group_id) m
                       WHERE h.user_id IS NULL AND h.subject_kind = 'everyone' AND h.group_id IS NOT NULL
            UNION ALL SELECT m.user_id COLLATE "default" FROM usher.members_at(openings.at, 'organization', h.organization_id) m
                       WHERE h.user_id IS NULL AND h.subject_kind = 'everyone' AND h.group_id IS NULL AND h.organization_id IS NOT NULL
         ) c (user_id)
         CROSS JOIN LATERAL usher.is_active_at(openings.at, c.user_id)
        -- The user must be a member of all of these in one session.
         WHERE NOT EXISTS (
            SELECT FROM (VALUES (h.subject_kind, h.subject_id, h.confined_to), ('organization', h.organization_id, h.confined_to),
                                ('group', h.group_id, h.confined_to), ('organization', h.confined_to, NULL)) need (kind, id, organization_id)
             WHERE need.id IS NOT NULL AND need.kind IN ('group', 'organization')
               AND NOT EXISTS (SELECT FROM usher.memberships_at(openings.at, c.user_id) m
                                WHERE m.kind = need.kind AND m.id = need.id
                                  AND (need.organization_id IS NULL OR m.organization_id = need.organization_id)))
    )
    SELECT DISTINCT 'user', p.user_id, p.access, p.id, p.subject_kind, p.subject_id, p.pattern, p.confined_to
      FROM person p
    UNION ALL
    SELECT 'everyone', '', h.access, h.id, h.subject_kind, h.subject_id, h.pattern, h.confined_to
      FROM held h
     WHERE h.subject_kind = 'everyone' AND num_nulls(h.user_id, h.organization_id, h.group_id) = 3
    UNION ALL
    SELECT 'api_key', k.id, p.value, NULL, 'api_key', k.id, p.key, o.id
      FROM usher.api_keys k
     CROSS JOIN LATERAL jsonb_each_text(k.patterns -> (openings.kind || 's')) p
      LEFT JOIN LATERAL unnest(k.organizations) o (id) ON true
     WHERE usher.holds_at(openings.at, k.created_at, k.expires_at, k.created_at, k.revoked_at)
       AND (openings.access = 'read' OR p.value = openings.access)
       AND audit.pattern_matches(p.key, openings.id)
       -- A key limited to an organization must name a member of it.
       AND (o.id IS NULL OR EXISTS (SELECT FROM usher.members_at(openings.at, 'organization', o.id) m
                                     CROSS JOIN LATERAL usher.is_active_at(openings.at, m.user_id)))
       AND ('authorize-user' = ANY (k.routes)
            -- The route auth issues the token of a user, in a session of that organization.
            OR 'auth' = ANY (k.routes)
               AND (EXISTS (
                    SELECT FROM person u
                     WHERE (p.value = 'full' OR u.access = 'read')
                       AND (o.id IS NULL
                            OR EXISTS (SELECT FROM usher.memberships_at(openings.at, u.user_id) m WHERE m.kind = 'organization' AND m.id = o.id)
                               AND coalesce(u.confined_to = o.id, true)
                               AND coalesce(u.organization_id = o.id, true)
                               AND (u.subject_kind <> 'organization' OR u.subject_id = o.id)
                               AND NOT EXISTS (
                                    SELECT FROM (VALUES (CASE u.subject_kind WHEN 'group' THEN u.subject_id END), (u.group_id)) need (id)
                                     WHERE need.id IS NOT NULL
                                       AND NOT EXISTS (SELECT FROM usher.memberships_at(openings.at, u.user_id) m
                                                        WHERE m.kind = 'group' AND m.id = need.id AND m.organization_id = o.id))))
                    OR EXISTS (
                    SELECT FROM held h
                     WHERE h.subject_kind = 'everyone' AND num_nulls(h.user_id, h.organization_id, h.group_id) = 3
                       AND (p.value = 'full' OR h.access = 'read')
                       AND (h.confined_to IS NULL AND (o.id IS NOT NULL OR usher.has_active_user(openings.at))
                            OR h.confined_to = o.id
                            OR o.id IS NULL AND EXISTS (SELECT FROM usher.members_at(openings.at, 'organization', h.confined_to) m
                                                   CROSS JOIN LATERAL usher.is_active_at(openings.at, m.user_id))))))
$$;

CREATE OR REPLACE FUNCTION usher.check_question(kind text, id text, access text DEFAULT 'read') RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF kind IS NULL OR kind NOT IN ('room', 'store') THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('the kind %L is neither room nor store', left(kind, 64)),
            HINT = 'For example: SELECT * FROM audit.who_can(''room'', ''acme:design:1'').';
    ELSIF access IS NULL OR access NOT IN ('read', 'full') THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('the access %L is neither read nor full', left(access, 64)),
            HINT = 'Full includes read: ask for read to see both.';
    ELSIF NOT audit.is_id(kind, id) THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('%L is not a valid %s id', left(id, 64), kind),
            HINT = CASE kind WHEN 'room' THEN 'Give the id of one room, not a pattern: 1 to 128 UTF-16 code units without * and control characters.'
                             ELSE 'Give the id of one store, not a pattern: 1 to 128 of A-Z, a-z, 0-9, _ and -.' END;
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION audit.who_can(kind text, id text, access text DEFAULT 'read') RETURNS SETOF audit.opening
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off AS $$
BEGIN
    PERFORM usher.check_question(kind, id, access);
    RETURN QUERY SELECT o.* FROM usher.openings(NULL, who_can.kind, who_can.id, who_can.access) o;
END
$$;
COMMENT ON FUNCTION audit.who_can(text, text, text) IS 'Who can open the room or store now, and through which grants. A user is listed if usher would issue a token for the id in some session of the user. The argument access is the minimum: read or full. Users who are disabled or not in the directory are left out. An API key is listed if a request with it can get a token that opens the id: its scope must cover the id, and a key limited to an organization needs an active member there. With the route authorize-user, the request may name any user. With only the route auth, some user must have the access too, and the token gives no more than the scope.';
