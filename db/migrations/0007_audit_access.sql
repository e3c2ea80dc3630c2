-- Who may, who could, who held, and why: views and functions for auditors.
--
-- What answers for now reads the directory through its functions and views,
-- whosever tables those show; what answers for the past reads usher's own.
-- Functions are definers, so that usher_auditor needs schema audit alone. They
-- are plpgsql, which keeps plans; one generic plan each (estimates for one id
-- would change it for the next, and planning costs more than looking up), and
-- none worth compiling. The helpers in schema usher are plain SQL, which
-- Postgres inlines into those plans. An id's prefixes and a user's subjects are
-- looked up by index; nothing is scanned.

-- +goose Up
COMMENT ON COLUMN audit.tokens.ip IS 'Who asked for it, as the connection or a trusted proxy said; null where erased or unknown.';
COMMENT ON COLUMN audit.tokens.user_agent IS 'The header, at most 256 bytes of it.';
COMMENT ON COLUMN audit.tokens.origin IS 'The header: the page that asked.';
COMMENT ON COLUMN audit.tokens.request_id IS 'The request in usher''s log.';
COMMENT ON COLUMN audit.denials.recorded_at IS 'When the row was written, by the database''s clock.';
COMMENT ON COLUMN audit.denials.user_id IS 'Who was refused; null where nobody was known.';
COMMENT ON COLUMN audit.denials.organization_id IS 'The active organization of the session; null where there is none.';
COMMENT ON COLUMN audit.denials.audience IS 'The sync backend that a token was asked for; null where none was named.';
COMMENT ON COLUMN audit.denials.room IS 'The room that was asked for; null where none was named.';
COMMENT ON COLUMN audit.denials.store IS 'The store that was asked for; null where none was named.';
COMMENT ON COLUMN audit.denials.caller_kind IS 'none, session, upstream, proxy, api_key, admin_key or operator.';
COMMENT ON COLUMN audit.denials.caller_id IS 'As in audit.tokens; of an admin key: its id. Null where nobody was known.';
COMMENT ON COLUMN audit.denials.ip IS 'Who asked, as the connection or a trusted proxy said; null where erased or unknown.';
COMMENT ON COLUMN audit.denials.user_agent IS 'The header, at most 256 bytes of it.';
COMMENT ON COLUMN audit.denials.origin IS 'The header: the page that asked.';
COMMENT ON COLUMN audit.denials.request_id IS 'The request in usher''s log.';
COMMENT ON COLUMN audit.denials.replica IS 'The usher process that refused.';
COMMENT ON COLUMN audit.changes.id IS 'Counts up.';

CREATE VIEW audit.grants AS
SELECT id, subject_kind, subject_id, organization_id::text AS organization_id, resource_kind, pattern, access, valid_from, valid_until,
       greatest(valid_from, created_at) AS holds_from, least(valid_until, revoked_at) AS holds_until,
       reason, created_at, created_by, revoked_at, revoked_by, revoke_reason
  FROM usher.grants;
COMMENT ON VIEW audit.grants IS 'Every grant that there ever was: who gave it to whom, when and why, and who took it away.';
COMMENT ON COLUMN audit.grants.id IS 'Counts up; never used again.';
COMMENT ON COLUMN audit.grants.subject_kind IS 'user, group, organization or everyone.';
COMMENT ON COLUMN audit.grants.subject_id IS 'Empty for everyone.';
COMMENT ON COLUMN audit.grants.organization_id IS 'Confines the grant to sessions in which this organization is active; null: every session.';
COMMENT ON COLUMN audit.grants.resource_kind IS 'room or store: what the pattern names.';
COMMENT ON COLUMN audit.grants.pattern IS 'An id, a prefix and *, or *; may hold {user}, {organization}, {group}.';
COMMENT ON COLUMN audit.grants.access IS 'read or full.';
COMMENT ON COLUMN audit.grants.valid_from IS 'As it was asked for.';
COMMENT ON COLUMN audit.grants.valid_until IS 'As it was asked for; null: for ever.';
COMMENT ON COLUMN audit.grants.holds_from IS 'The later of valid_from and created_at: from then on the grant counts.';
COMMENT ON COLUMN audit.grants.holds_until IS 'The earlier of valid_until and revoked_at: from then on it counts no more; null: it has no end. Where this is not later than holds_from, it never counted.';
COMMENT ON COLUMN audit.grants.reason IS 'What was said when it was given.';
COMMENT ON COLUMN audit.grants.created_at IS 'By the database''s clock, at the begin of the transaction.';
COMMENT ON COLUMN audit.grants.created_by IS 'Who gave it.';
COMMENT ON COLUMN audit.grants.revoked_at IS 'By the database''s clock, at the begin of the transaction; null: it was not revoked.';
COMMENT ON COLUMN audit.grants.revoked_by IS 'Who took it away.';
COMMENT ON COLUMN audit.grants.revoke_reason IS 'What was said when it was taken away.';

-- +goose StatementBegin
CREATE FUNCTION usher.check_history() RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    other text := (SELECT d.directory FROM usher.deployment d WHERE d.directory <> 'usher');
BEGIN
    IF other IS NOT NULL THEN
        RAISE feature_not_supported USING
            MESSAGE = format('users and members are those of %s, which keeps no history of them', other),
            HINT = 'audit.holders(kind, id, at) says whose tokens opened an id at any time; audit.who_can answers for now.';
    END IF;
    RETURN true;
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION usher.check_history() IS 'True, or an error where the directory is an application''s and cannot tell the past.';
REVOKE EXECUTE ON FUNCTION usher.check_history() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION usher.check_history() TO usher_auditor, usher_service; -- a view's functions run as its reader

CREATE VIEW audit.members AS
SELECT user_id::text AS user_id, member_of_kind AS kind, member_of_id::text AS id, organization_id::text AS organization_id,
       created_at AS since, ended_at AS until, created_by AS added_by, ended_by
  FROM usher.memberships
 WHERE usher.check_history();
COMMENT ON VIEW audit.members IS 'Every membership that there ever was in usher''s own directory. An error where the directory is an application''s.';
COMMENT ON COLUMN audit.members.user_id IS 'The member.';
COMMENT ON COLUMN audit.members.kind IS 'organization or group: what id names.';
COMMENT ON COLUMN audit.members.id IS 'What the user is or was a member of.';
COMMENT ON COLUMN audit.members.organization_id IS 'The organization itself, or that of the group; null where the group has none.';
COMMENT ON COLUMN audit.members.since IS 'From then on the membership counts; by the database''s clock.';
COMMENT ON COLUMN audit.members.until IS 'From then on it counts no more; null: it goes on.';
COMMENT ON COLUMN audit.members.added_by IS 'Who began it.';
COMMENT ON COLUMN audit.members.ended_by IS 'Who ended it.';

-- The directory at one time, now where that is null.

-- +goose StatementBegin
CREATE FUNCTION usher.members_at(at timestamptz, kind text, id text) RETURNS TABLE (user_id text)
LANGUAGE sql STABLE ROWS 10 AS $$
    SELECT m.user_id
      FROM usher.directory_members m
     WHERE members_at.at IS NULL AND m.kind = members_at.kind AND m.id = members_at.id
    UNION ALL
    SELECT m.user_id::text
      FROM usher.memberships m
     WHERE members_at.at IS NOT NULL AND m.member_of_kind = members_at.kind AND m.member_of_id = members_at.id
       AND m.created_at <= members_at.at AND (m.ended_at IS NULL OR m.ended_at > members_at.at)
$$;

CREATE FUNCTION usher.memberships_at(at timestamptz, user_id text) RETURNS TABLE (kind text, id text, organization_id text)
LANGUAGE sql STABLE ROWS 10 AS $$
    SELECT m.kind, m.id, m.organization_id
      FROM usher.directory_memberships(memberships_at.user_id) m
     WHERE memberships_at.at IS NULL
    UNION ALL
    SELECT m.member_of_kind, m.member_of_id::text, m.organization_id::text
      FROM usher.memberships m
     WHERE memberships_at.at IS NOT NULL AND m.user_id = memberships_at.user_id
       AND m.created_at <= memberships_at.at AND (m.ended_at IS NULL OR m.ended_at > memberships_at.at)
$$;

CREATE FUNCTION usher.is_active_at(at timestamptz, user_id text) RETURNS TABLE (active boolean)
LANGUAGE sql STABLE ROWS 1 AS $$
    SELECT true
      FROM usher.directory_user(is_active_at.user_id) u
     WHERE is_active_at.at IS NULL AND NOT u.disabled
    UNION ALL
    SELECT true
     WHERE is_active_at.at IS NOT NULL
       AND (SELECT s.state FROM usher.user_states s
             WHERE s.user_id = is_active_at.user_id AND s.since <= is_active_at.at
             ORDER BY s.since DESC, s.id DESC LIMIT 1) = 'enabled'
$$;

CREATE FUNCTION usher.holds_at(at timestamptz, valid_from timestamptz, valid_until timestamptz, created_at timestamptz, revoked_at timestamptz) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN at IS NULL
                THEN revoked_at IS NULL AND valid_from <= now() AND (valid_until IS NULL OR valid_until > now())
                ELSE valid_from <= at AND created_at <= at AND (valid_until IS NULL OR valid_until > at) AND (revoked_at IS NULL OR revoked_at > at) END
$$;

-- Which grants name an id. Those without a placeholder are found by its
-- prefixes. Braces are for placeholders alone, so that no pattern reaches
-- beyond the first one in an id.
CREATE FUNCTION usher.plain_patterns(id text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    literal text := split_part(split_part(id, '{', 1), '}', 1);
BEGIN
    RETURN (SELECT array_agg(left(literal, n) || '*') FROM generate_series(0, char_length(literal)) n)
        || CASE WHEN literal = id THEN id END;
END
$$;

-- Those with one are found by the literal before it, each template once however
-- many hold it: from one to the next in the index. The values are those that
-- the id shows; a template that cannot match is no row. Not inlined: Postgres
-- would expect thousands of rows of it, and scan.
CREATE FUNCTION usher.templates(kind text, id text) RETURNS TABLE (pattern text, user_id text, organization_id text, group_id text)
LANGUAGE plpgsql STABLE ROWS 2 AS $$
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
-- +goose StatementEnd

-- +goose StatementBegin
-- One template may be granted to thousands: each time to one subject. OFFSET
-- keeps Postgres from reading them all, since a pattern has few grants mostly.
CREATE FUNCTION usher.grants_of(resource_kind text, pattern text, subject_kind text, subject_id text) RETURNS TABLE (id bigint)
LANGUAGE sql STABLE ROWS 1 AS $$
    SELECT g.id
      FROM usher.grants g
     WHERE g.resource_kind = grants_of.resource_kind AND g.pattern = grants_of.pattern
       AND g.subject_kind = grants_of.subject_kind AND g.subject_id = grants_of.subject_id
    OFFSET 0
$$;
-- +goose StatementEnd

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
COMMENT ON TYPE audit.opening IS 'One principal who can open an id, and one grant that lets him.';
COMMENT ON COLUMN audit.opening.principal_kind IS 'user; everyone: all users of the directory, by a grant that names nobody; api_key: who holds the key can have a token made.';
COMMENT ON COLUMN audit.opening.principal_id IS 'The user or the API key; empty for everyone.';
COMMENT ON COLUMN audit.opening.access IS 'read or full: what this grant gives. The strongest counts.';
COMMENT ON COLUMN audit.opening.grant_id IS 'Row of audit.grants; null for an API key, which has a scope.';
COMMENT ON COLUMN audit.opening.through_kind IS 'Whom the grant is for: user, group, organization or everyone; api_key for a key.';
COMMENT ON COLUMN audit.opening.through_id IS 'The id of whom it is for; empty for everyone.';
COMMENT ON COLUMN audit.opening.pattern IS 'As it was granted, with its placeholders.';
COMMENT ON COLUMN audit.opening.organization_id IS 'The organization that must be the session''s active one, or that an API key must name; null: a session without one will do. Where another organization is active, grants through groups, organizations and placeholders count only for what is of that one.';

-- +goose StatementBegin
-- Ids leave the grants as text of the default collation: a function that is
-- called with one of "C" compares by "C" within, and an index of another
-- collation would not serve. Whose tables it is decides.
CREATE FUNCTION usher.openings(at timestamptz, kind text, id text, access text) RETURNS SETOF audit.opening
LANGUAGE sql STABLE ROWS 100 AS $$
    WITH template AS MATERIALIZED (
        SELECT t.pattern, t.user_id, t.organization_id, t.group_id FROM usher.templates(openings.kind, openings.id) t
    ), found AS (
        -- Grants that name the id, and for whom a template would have to be filled in.
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
        -- The template does not say whom the grant is for: those whom it can be filled in for do.
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
    )
    SELECT DISTINCT 'user', c.user_id, h.access, h.id, h.subject_kind, h.subject_id, h.pattern, h.confined_to
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
           -- In one session the user must be a member of all these.
     WHERE NOT EXISTS (
        SELECT FROM (VALUES (h.subject_kind, h.subject_id, h.confined_to), ('organization', h.organization_id, h.confined_to),
                            ('group', h.group_id, h.confined_to), ('organization', h.confined_to, NULL)) need (kind, id, organization_id)
         WHERE need.id IS NOT NULL AND need.kind IN ('group', 'organization')
           AND NOT EXISTS (SELECT FROM usher.memberships_at(openings.at, c.user_id) m
                            WHERE m.kind = need.kind AND m.id = need.id
                              AND (need.organization_id IS NULL OR m.organization_id = need.organization_id)))
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
       AND k.routes && ARRAY['auth', 'authorize-user']
       AND (openings.access = 'read' OR p.value = openings.access)
       AND audit.pattern_matches(p.key, openings.id)
$$;

CREATE FUNCTION usher.check_question(kind text, id text, access text DEFAULT 'read') RETURNS void
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF kind IS NULL OR kind NOT IN ('room', 'store') THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('the kind %L is neither room nor store', left(kind, 64)),
            HINT = 'Ask for example: SELECT * FROM audit.who_can(''room'', ''acme:design:1'').';
    ELSIF access IS NULL OR access NOT IN ('read', 'full') THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('the access %L is neither read nor full', left(access, 64)),
            HINT = 'Who has full has read too: ask for read to see both.';
    ELSIF NOT audit.is_id(kind, id) THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('%L is no id of a %s', left(id, 64), kind),
            HINT = CASE kind WHEN 'room' THEN 'Give the id of one room, not a pattern: 1 to 128 UTF-16 units without * and control characters.'
                             ELSE 'Give the id of one store, not a pattern: 1 to 128 of A-Z, a-z, 0-9, _ and -.' END;
    END IF;
END
$$;

CREATE FUNCTION audit.who_can(kind text, id text, access text DEFAULT 'read') RETURNS SETOF audit.opening
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off AS $$
BEGIN
    PERFORM usher.check_question(kind, id, access);
    RETURN QUERY SELECT o.* FROM usher.openings(NULL, who_can.kind, who_can.id, who_can.access) o;
END
$$;

CREATE FUNCTION audit.who_could(kind text, id text, at timestamptz, access text DEFAULT 'read') RETURNS SETOF audit.opening
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off AS $$
BEGIN
    PERFORM usher.check_question(kind, id, access), usher.check_history();
    IF at IS NULL OR at > clock_timestamp() THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'the time is null or yet to come',
            HINT = 'Give a time that has passed; audit.who_can answers for now.';
    END IF;
    RETURN QUERY SELECT o.* FROM usher.openings(who_could.at, who_could.kind, who_could.id, who_could.access) o;
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION audit.who_can(text, text, text) IS 'Who can open the room or store now, and by which grants: those for whom there is a session in which usher would issue a token for it. access is read (who can read or more) or full. Users who are disabled or not in the directory are left out. An API key stands here where its scope covers the id: with the route authorize-user for anyone, with auth for users who can themselves.';
COMMENT ON FUNCTION audit.who_could(text, text, timestamptz, text) IS 'Who could open the room or store at a time in the past: what audit.who_can would have said, exact to the duration of the transactions that changed something. An error where the directory is an application''s, which keeps no history.';

CREATE TYPE audit.reach AS (
    resource_kind   text,
    pattern         text,
    access          text,
    grant_id        bigint,
    granted         text,
    through_kind    text,
    through_id      text,
    organization_id text
);
COMMENT ON TYPE audit.reach IS 'One pattern that a user may open now, and the grant that lets him.';
COMMENT ON COLUMN audit.reach.resource_kind IS 'room or store: what the pattern names.';
COMMENT ON COLUMN audit.reach.pattern IS 'What may be opened, placeholders filled in.';
COMMENT ON COLUMN audit.reach.access IS 'read or full. Of all patterns that match an id, the strongest counts.';
COMMENT ON COLUMN audit.reach.grant_id IS 'Row of audit.grants.';
COMMENT ON COLUMN audit.reach.granted IS 'The pattern as it was granted, with its placeholders.';
COMMENT ON COLUMN audit.reach.through_kind IS 'Whom the grant is for: user, group, organization or everyone.';
COMMENT ON COLUMN audit.reach.through_id IS 'The id of whom it is for; empty for everyone.';
COMMENT ON COLUMN audit.reach.organization_id IS 'The organization that must be the session''s active one; null: a session without one will do.';

-- +goose StatementBegin
CREATE FUNCTION usher.reach(user_id text) RETURNS SETOF audit.reach
LANGUAGE sql STABLE ROWS 20 AS $$
    WITH listed AS MATERIALIZED (
        SELECT DISTINCT m.kind, m.id, m.organization_id FROM usher.directory_memberships(reach.user_id) m
    ), subject AS (
        SELECT 'user' AS kind, reach.user_id AS id, NULL AS organization_id
        UNION ALL SELECT 'everyone', '', NULL
        UNION ALL SELECT l.kind, l.id, l.organization_id FROM listed l
    )
    SELECT g.resource_kind, p.pattern, g.access, g.id, g.pattern, g.subject_kind, g.subject_id, g.organization_id::text
      FROM usher.directory_user(reach.user_id) u
     CROSS JOIN subject s
      JOIN usher.grants g ON g.subject_kind = s.kind AND g.subject_id = s.id
     CROSS JOIN LATERAL audit.expand(g.resource_kind, g.pattern, reach.user_id,
        CASE WHEN g.pattern = g.template_shape THEN NULL
             WHEN g.subject_kind = 'organization' THEN ARRAY[g.subject_id]
             ELSE ARRAY(SELECT l.id FROM listed l WHERE l.kind = 'organization' AND (g.organization_id IS NULL OR l.organization_id = g.organization_id)) END,
        CASE WHEN g.pattern = g.template_shape THEN NULL
             WHEN g.subject_kind = 'group' THEN ARRAY[g.subject_id]
             ELSE ARRAY(SELECT l.id FROM listed l WHERE l.kind = 'group' AND (g.organization_id IS NULL OR l.organization_id = g.organization_id)) END) p (pattern)
     WHERE NOT u.disabled
       AND g.revoked_at IS NULL AND g.valid_from <= now() AND (g.valid_until IS NULL OR g.valid_until > now())
       AND (g.organization_id IS NULL
            OR EXISTS (SELECT FROM listed l WHERE l.kind = 'organization' AND l.id = g.organization_id)
               AND (g.subject_kind IN ('user', 'everyone') OR s.organization_id = g.organization_id))
$$;

CREATE FUNCTION audit.what_can(user_id text) RETURNS SETOF audit.reach
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off AS $$
BEGIN
    RETURN QUERY SELECT r.* FROM usher.reach(what_can.user_id) r;
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION audit.what_can(text) IS 'What a user may open now, and by which grants, those to everyone among them. No rows for a user who is disabled or not in the directory.';

-- +goose StatementBegin
CREATE FUNCTION usher.active_users() RETURNS TABLE (id text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY SELECT u.id FROM usher.directory_users u WHERE NOT u.disabled;
END
$$;
-- +goose StatementEnd

-- By functions alone: the directory's views are replaced when an application's
-- tables take their place, and nothing may depend on them.
CREATE VIEW audit.access AS
SELECT 'user' AS principal_kind, u.id AS principal_id, r.resource_kind, r.pattern, r.access, r.grant_id, r.granted,
       r.through_kind, r.through_id, r.organization_id
  FROM usher.active_users() u
 CROSS JOIN LATERAL audit.what_can(u.id) r
 WHERE r.through_kind <> 'everyone' OR strpos(r.granted, '{') > 0
UNION ALL
SELECT 'everyone', '', g.resource_kind, g.pattern, g.access, g.id, g.pattern, g.subject_kind, g.subject_id, g.organization_id
  FROM usher.grants g
 WHERE g.subject_kind = 'everyone' AND g.pattern = g.template_shape AND audit.is_template(g.resource_kind, g.pattern)
   AND usher.holds_at(NULL, g.valid_from, g.valid_until, g.created_at, g.revoked_at)
UNION ALL
SELECT 'api_key', k.id, v.resource_kind, p.key, p.value, NULL, p.key, 'api_key', k.id, o.id
  FROM usher.api_keys k
 CROSS JOIN LATERAL (VALUES ('room', k.patterns -> 'rooms'), ('store', k.patterns -> 'stores')) v (resource_kind, patterns)
 CROSS JOIN LATERAL jsonb_each_text(v.patterns) p
  LEFT JOIN LATERAL unnest(k.organizations) o (id) ON true
 WHERE usher.holds_at(NULL, k.created_at, k.expires_at, k.created_at, k.revoked_at)
   AND k.routes && ARRAY['auth', 'authorize-user'];
COMMENT ON VIEW audit.access IS 'Who may open what now, and through which grant. The whole has a row for each user and grant, and takes its time: filter by principal_id, or ask audit.who_can. What a grant to everyone without a placeholder gives stands here once, under everyone; audit.what_can(user_id) adds it to the user''s own.';
COMMENT ON COLUMN audit.access.principal_kind IS 'user; everyone: all users of the directory; api_key: who holds the key can have a token made.';
COMMENT ON COLUMN audit.access.principal_id IS 'The user or the API key; empty for everyone.';
COMMENT ON COLUMN audit.access.resource_kind IS 'room or store: what the pattern names.';
COMMENT ON COLUMN audit.access.pattern IS 'What may be opened, placeholders filled in.';
COMMENT ON COLUMN audit.access.access IS 'read or full. Of all patterns that match an id, the strongest counts.';
COMMENT ON COLUMN audit.access.grant_id IS 'Row of audit.grants; null for an API key, which has a scope.';
COMMENT ON COLUMN audit.access.granted IS 'The pattern as it was granted, with its placeholders.';
COMMENT ON COLUMN audit.access.through_kind IS 'Whom the grant is for: user, group, organization or everyone; api_key for a key.';
COMMENT ON COLUMN audit.access.through_id IS 'The id of whom it is for; empty for everyone.';
COMMENT ON COLUMN audit.access.organization_id IS 'The organization that must be the session''s active one, or that an API key must name; null: a session without one will do. Where another organization is active, grants through groups, organizations and placeholders count only for what is of that one.';


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
COMMENT ON TYPE audit.explanation IS 'One grant, and what it means for a user and an id. In one row, grant_id is null: it gives the result of all.';
COMMENT ON COLUMN audit.explanation.grant_id IS 'Row of audit.grants; null in the row of the result.';
COMMENT ON COLUMN audit.explanation.subject_kind IS 'Whom the grant is for: user, group, organization or everyone.';
COMMENT ON COLUMN audit.explanation.subject_id IS 'The id of whom it is for; empty for everyone.';
COMMENT ON COLUMN audit.explanation.organization_id IS 'Confines the grant to sessions in which this organization is active; null: every session.';
COMMENT ON COLUMN audit.explanation.pattern IS 'As it was granted, with its placeholders.';
COMMENT ON COLUMN audit.explanation.access IS 'What the grant gives; in the row of the result what the user has: none, read or full, in the session that gives most.';
COMMENT ON COLUMN audit.explanation.holds_from IS 'From then on the grant counts.';
COMMENT ON COLUMN audit.explanation.holds_until IS 'From then on it counts no more; null: it has no end.';
COMMENT ON COLUMN audit.explanation.matches IS 'The pattern names the id, or would if its placeholders were filled in for somebody.';
COMMENT ON COLUMN audit.explanation.counts IS 'It gives this user access to the id now; in the row of the result: the user has some.';
COMMENT ON COLUMN audit.explanation.why IS 'A sentence that says why it counts or not. Its words may change.';

-- +goose StatementBegin
CREATE FUNCTION usher.explain(user_id text, kind text, id text) RETURNS SETOF audit.explanation
LANGUAGE sql STABLE ROWS 20 AS $$
    WITH listed AS MATERIALIZED (
        SELECT DISTINCT m.kind, m.id, m.organization_id FROM usher.directory_memberships(explain.user_id) m
    ), template AS MATERIALIZED (
        SELECT t.pattern, t.user_id, t.organization_id, t.group_id FROM usher.templates(explain.kind, explain.id) t
    ), candidate AS (
        SELECT g.id
          FROM usher.grants g
         WHERE g.resource_kind = explain.kind AND g.pattern = ANY (usher.plain_patterns(explain.id))
        UNION
        SELECT g.id
          FROM template t
         CROSS JOIN LATERAL (VALUES ('everyone', ''), ('user', t.user_id), ('organization', t.organization_id), ('group', t.group_id)) s (kind, id)
         CROSS JOIN LATERAL usher.grants_of(explain.kind, t.pattern, s.kind, s.id) g
        UNION
        SELECT g.id
          FROM (SELECT 'user' AS kind, explain.user_id AS id
                UNION ALL SELECT 'everyone', ''
                UNION ALL SELECT l.kind, l.id FROM listed l) s
         CROSS JOIN LATERAL (
            SELECT g.id, g.resource_kind FROM usher.grants g WHERE g.subject_kind = s.kind AND g.subject_id = s.id AND g.revoked_at IS NULL
            UNION ALL
            SELECT g.id, g.resource_kind FROM usher.grants g WHERE g.subject_kind = s.kind AND g.subject_id = s.id AND g.revoked_at IS NOT NULL
         ) g
         WHERE g.resource_kind = explain.kind
    ), counting AS MATERIALIZED (
        SELECT DISTINCT r.grant_id
          FROM usher.reach(explain.user_id) r
         WHERE r.resource_kind = explain.kind AND audit.pattern_matches(r.pattern, explain.id)
    ), judged AS MATERIALIZED (
        SELECT g.id, g.subject_kind, g.subject_id, g.organization_id::text AS confined_to, g.pattern, g.template_shape, g.access,
               g.valid_from, g.valid_until, g.created_at, g.revoked_at, g.revoked_by, g.revoke_reason,
               t.user_id, t.organization_id, t.group_id,
               t.pattern IS NOT NULL OR g.pattern = g.template_shape AND g.pattern = ANY (usher.plain_patterns(explain.id)) AS matches,
               c.grant_id IS NOT NULL AS counts
          FROM candidate
          JOIN usher.grants g ON g.id = candidate.id
          LEFT JOIN template t ON t.pattern = g.pattern
          LEFT JOIN counting c ON c.grant_id = g.id
    )
    SELECT NULL::bigint, NULL, NULL, NULL, NULL, r.access, NULL, NULL, NULL::boolean, r.access <> 'none',
           CASE WHEN u.disabled IS NULL THEN format('The directory does not list user %s.', explain.user_id)
                WHEN u.disabled THEN format('User %s is disabled.', explain.user_id)
                WHEN r.access = 'none' THEN 'No grant counts.'
                ELSE format('These grants count: %s.', r.ids) END
      FROM (SELECT coalesce(max(j.access) FILTER (WHERE j.access = 'full'), max(j.access), 'none') AS access,
                   string_agg(j.id::text, ', ' ORDER BY j.id) AS ids
              FROM judged j WHERE j.counts) r
      LEFT JOIN usher.directory_user(explain.user_id) u ON true
    UNION ALL
    SELECT j.id, j.subject_kind, j.subject_id, j.confined_to, j.pattern, j.access,
           greatest(j.valid_from, j.created_at), least(j.valid_until, j.revoked_at), j.matches, j.counts,
           CASE WHEN j.counts THEN coalesce('It counts where organization ' || j.confined_to || ' is active.', 'It counts.')
                WHEN NOT audit.is_template(explain.kind, j.pattern) THEN 'Its pattern is none that usher takes: it is skipped.'
                WHEN NOT j.matches THEN 'Its pattern does not match the id.'
                WHEN j.revoked_at IS NOT NULL THEN format('It was revoked at %s by %s%s.', d.revoked_at, j.revoked_by, ': ' || j.revoke_reason)
                WHEN j.valid_from > now() THEN format('It holds from %s on.', d.valid_from)
                WHEN j.valid_until <= now() THEN format('It was over at %s.', d.valid_until)
                WHEN j.subject_kind = 'user' AND j.subject_id <> explain.user_id THEN format('It is for user %s.', j.subject_id)
                WHEN j.subject_kind IN ('group', 'organization') AND NOT EXISTS (SELECT FROM listed l WHERE l.kind = j.subject_kind AND l.id = j.subject_id)
                THEN format('It is for %s %s, of which the user is not a member.', j.subject_kind, j.subject_id)
                WHEN j.confined_to IS NOT NULL AND NOT EXISTS (SELECT FROM listed l WHERE l.kind = 'organization' AND l.id = j.confined_to)
                THEN format('It is confined to organization %s, of which the user is not a member.', j.confined_to)
                WHEN j.confined_to IS NOT NULL AND j.subject_kind IN ('group', 'organization')
                     AND NOT EXISTS (SELECT FROM listed l WHERE l.kind = j.subject_kind AND l.id = j.subject_id AND l.organization_id = j.confined_to)
                THEN format('It is confined to organization %s, and %s %s is not of that one.', j.confined_to, j.subject_kind, j.subject_id)
                WHEN u.disabled IS NULL THEN 'The directory does not list the user.'
                WHEN u.disabled THEN 'The user is disabled.'
                WHEN j.user_id <> explain.user_id AND NOT EXISTS (SELECT FROM audit.expand(explain.kind, '{user}' || s.after, explain.user_id, NULL, NULL))
                THEN 'The user''s id does not fit its template: it is empty, or holds what an id may not or the separator that follows it.'
                ELSE format('Its template matches the id for %s alone%s.',
                            concat_ws(' and ', 'user ' || j.user_id, 'members of organization ' || j.organization_id, 'members of group ' || j.group_id),
                            coalesce(', where organization ' || j.confined_to || ' is active', '')) END
      FROM judged j
     CROSS JOIN LATERAL (SELECT to_char(j.revoked_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS revoked_at,
                                to_char(j.valid_from AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS valid_from,
                                to_char(j.valid_until AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS valid_until) d
     CROSS JOIN LATERAL (SELECT trim('*' FROM left(split_part(j.pattern, '{user}', 2), 1)) AS after) s
      LEFT JOIN usher.directory_user(explain.user_id) u ON true
$$;

CREATE FUNCTION audit.explain(user_id text, kind text, id text) RETURNS SETOF audit.explanation
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off AS $$
BEGIN
    PERFORM usher.check_question(kind, id);
    RETURN QUERY SELECT e.* FROM usher.explain(explain.user_id, explain.kind, explain.id) e;
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION audit.explain(text, text, text) IS 'Why a user can open a room or store now, or why not: first the result, then every grant of that kind, past ones too, that names the id or is for the user, for everyone, or for a group or organization of the user''s.';

CREATE TYPE audit.holder AS (
    user_id         text,
    access          text,
    jti             text,
    issued_at       timestamptz,
    expires_at      timestamptz,
    organization_id text,
    audience        text,
    caller_kind     text,
    caller_id       text
);
COMMENT ON TYPE audit.holder IS 'One token that opened an id at some time.';
COMMENT ON COLUMN audit.holder.user_id IS 'Whose token it was: its sub claim.';
COMMENT ON COLUMN audit.holder.access IS 'read or full: what it gave to the id.';
COMMENT ON COLUMN audit.holder.jti IS 'Row of audit.tokens.';
COMMENT ON COLUMN audit.holder.issued_at IS 'By the database''s clock.';
COMMENT ON COLUMN audit.holder.expires_at IS 'The exp claim. A verifier adds its leeway, 30 s by default.';
COMMENT ON COLUMN audit.holder.organization_id IS 'The active organization of the session; null where there was none.';
COMMENT ON COLUMN audit.holder.audience IS 'The one sync backend that took the token.';
COMMENT ON COLUMN audit.holder.caller_kind IS 'Who asked for it: session, upstream, proxy, api_key or operator.';
COMMENT ON COLUMN audit.holder.caller_id IS 'As in audit.tokens.';

-- +goose StatementBegin
-- No token lives longer than an hour, so that the index by time serves.
CREATE FUNCTION audit.holders(kind text, id text, at timestamptz) RETURNS SETOF audit.holder
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off AS $$
DECLARE
    wanted text[] := (SELECT array_agg(left(id, n) || '*') || id FROM generate_series(0, char_length(id)) n);
BEGIN
    PERFORM usher.check_question(kind, id);
    IF at IS NULL THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'the time is null',
            HINT = 'Give the time to look at; now() for who holds a token at present.';
    END IF;
    RETURN QUERY
    SELECT t.user_id, audit.access_of(t.patterns -> (holders.kind || 's'), holders.id), t.jti, t.issued_at, t.expires_at,
           t.organization_id, t.audience, t.caller_kind, t.caller_id
      FROM audit.tokens t
     WHERE t.issued_at <= holders.at AND t.issued_at > holders.at - interval '1 hour'
       AND t.expires_at > holders.at
       AND t.patterns -> (holders.kind || 's') ?| wanted;
END
$$;

CREATE FUNCTION audit.tokens_of(user_id text, since timestamptz) RETURNS SETOF audit.tokens
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off AS $$
BEGIN
    IF since IS NULL THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'the time is null',
            HINT = 'Give the time to begin with; ''-infinity'' for all that there are.';
    END IF;
    RETURN QUERY SELECT t.* FROM audit.tokens t WHERE t.user_id = tokens_of.user_id AND t.issued_at >= tokens_of.since;
END
$$;

CREATE FUNCTION audit.unused_grants(since timestamptz) RETURNS SETOF audit.grants
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off AS $$
BEGIN
    IF since IS NULL OR since > clock_timestamp() THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'the time is null or yet to come',
            HINT = 'Give the time since which a grant that is in use would have been used, for example now() - interval ''30 days''.';
    END IF;
    RETURN QUERY
    WITH carried AS MATERIALIZED (
        SELECT DISTINCT t.user_id, t.organization_id, k.resource_kind, p.key AS pattern, p.value AS access
          FROM audit.tokens t
         CROSS JOIN LATERAL (VALUES ('room', t.patterns -> 'rooms'), ('store', t.patterns -> 'stores')) k (resource_kind, patterns)
         CROSS JOIN LATERAL jsonb_each_text(k.patterns) p
         WHERE t.issued_at >= unused_grants.since
    ), used AS (
        SELECT r.grant_id
          FROM (SELECT DISTINCT c.user_id FROM carried c) u
         CROSS JOIN LATERAL usher.reach(u.user_id) r
          JOIN carried c ON c.user_id = u.user_id AND c.resource_kind = r.resource_kind AND c.access = r.access
         WHERE audit.pattern_covers(r.pattern, c.pattern)
           AND (r.organization_id IS NULL OR r.organization_id = c.organization_id)
    )
    SELECT g.*
      FROM audit.grants g
     WHERE g.revoked_at IS NULL AND g.holds_from <= unused_grants.since AND (g.holds_until IS NULL OR g.holds_until > now())
       AND NOT EXISTS (SELECT FROM used WHERE used.grant_id = g.id);
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION audit.holders(text, text, timestamptz) IS 'Whose live token opened the room or store at a time: issued then or before, and not yet expired. It rests on what was issued, whosever the directory. Tokens of partitions that were pruned are not seen.';
COMMENT ON FUNCTION audit.tokens_of(text, timestamptz) IS 'The tokens that a user was given since a time: rows of audit.tokens.';
COMMENT ON FUNCTION audit.unused_grants(timestamptz) IS 'Grants that hold now, held all the time since, and of which no token since then made use: none of a user whom the grant reaches now holds a pattern that is the grant''s, or lies within it, at the grant''s own access (of a confined grant: in its organization). A grant that another one always outdoes is unused too. A report that reads all tokens since then: it takes its time.';

-- +goose StatementBegin
CREATE FUNCTION usher.matches_nothing(grant_id bigint) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off AS $$
DECLARE
    kind text;
    id   text;
BEGIN
    SELECT g.subject_kind, g.subject_id INTO kind, id FROM usher.grants g WHERE g.id = matches_nothing.grant_id;
    RETURN NOT EXISTS (
        SELECT FROM (
            SELECT id AS user_id WHERE kind = 'user'
            UNION ALL SELECT m.user_id COLLATE "default" FROM usher.members_at(NULL, kind, id) m
            UNION ALL SELECT u.id COLLATE "default" FROM usher.directory_users u WHERE kind = 'everyone'
        ) u
         CROSS JOIN LATERAL usher.reach(u.user_id) r
         WHERE r.grant_id = matches_nothing.grant_id);
END
$$;
-- +goose StatementEnd

CREATE VIEW audit.risky_grants AS
SELECT r.reason, g.id AS grant_id, NULL AS api_key_id, g.subject_kind, g.subject_id, g.organization_id, g.resource_kind, g.pattern, g.access,
       g.created_at, g.created_by
  FROM audit.grants g
 CROSS JOIN LATERAL (
    SELECT 'everything' AS reason WHERE g.pattern = '*'
    UNION ALL SELECT 'open_prefix' WHERE g.pattern ~ CASE g.resource_kind WHEN 'room' THEN '[^:/.]\*$' ELSE '[^_]\*$' END
    UNION ALL SELECT 'full_for_everyone' WHERE g.subject_kind = 'everyone' AND g.access = 'full' AND g.pattern !~ '\{(user|organization|group)\}'
    UNION ALL SELECT 'matches_nothing' WHERE g.pattern ~ '[{}]' AND g.holds_from <= now()
                                         AND usher.matches_nothing(g.id)
 ) r
 WHERE g.revoked_at IS NULL AND (g.holds_until IS NULL OR g.holds_until > now())
UNION ALL
SELECT 'never_expires', NULL, k.id, NULL, NULL, NULL, NULL, NULL, NULL, k.created_at, k.created_by
  FROM usher.api_keys k
 WHERE k.revoked_at IS NULL AND k.expires_at IS NULL;
COMMENT ON VIEW audit.risky_grants IS 'Grants and API keys that somebody should look at; those that hold now or will. One may have several rows.';
COMMENT ON COLUMN audit.risky_grants.reason IS 'everything: the pattern is *. open_prefix: its wildcard does not end a segment, as acme* matches acme-evil. full_for_everyone: every user may write, by a pattern without a placeholder. matches_nothing: a template that nobody''s values fit now. never_expires: an API key without an end.';
COMMENT ON COLUMN audit.risky_grants.grant_id IS 'Row of audit.grants; null for an API key.';
COMMENT ON COLUMN audit.risky_grants.api_key_id IS 'The API key; null for a grant.';
COMMENT ON COLUMN audit.risky_grants.subject_kind IS 'user, group, organization or everyone; null for an API key.';
COMMENT ON COLUMN audit.risky_grants.subject_id IS 'Empty for everyone; null for an API key.';
COMMENT ON COLUMN audit.risky_grants.organization_id IS 'Confines the grant to sessions in which this organization is active; null: every session.';
COMMENT ON COLUMN audit.risky_grants.resource_kind IS 'room or store; null for an API key, whose scope may have both.';
COMMENT ON COLUMN audit.risky_grants.pattern IS 'As it was granted; null for an API key.';
COMMENT ON COLUMN audit.risky_grants.access IS 'read or full; null for an API key.';
COMMENT ON COLUMN audit.risky_grants.created_at IS 'By the database''s clock.';
COMMENT ON COLUMN audit.risky_grants.created_by IS 'Who gave the grant or made the key.';

REVOKE EXECUTE ON FUNCTION
    usher.active_users(), usher.matches_nothing(bigint), usher.members_at(timestamptz, text, text), usher.memberships_at(timestamptz, text), usher.is_active_at(timestamptz, text),
    usher.holds_at(timestamptz, timestamptz, timestamptz, timestamptz, timestamptz), usher.plain_patterns(text), usher.templates(text, text), usher.grants_of(text, text, text, text),
    usher.openings(timestamptz, text, text, text), usher.check_question(text, text, text), usher.reach(text), usher.explain(text, text, text),
    audit.who_can(text, text, text), audit.who_could(text, text, timestamptz, text), audit.what_can(text), audit.explain(text, text, text),
    audit.holders(text, text, timestamptz), audit.tokens_of(text, timestamptz), audit.unused_grants(timestamptz)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    -- A view's functions run as its reader.
    usher.active_users(), usher.matches_nothing(bigint), usher.holds_at(timestamptz, timestamptz, timestamptz, timestamptz, timestamptz),
    audit.who_can(text, text, text), audit.who_could(text, text, timestamptz, text), audit.what_can(text), audit.explain(text, text, text),
    audit.holders(text, text, timestamptz), audit.tokens_of(text, timestamptz), audit.unused_grants(timestamptz)
TO usher_auditor, usher_service;
GRANT SELECT ON audit.grants, audit.members, audit.access, audit.risky_grants TO usher_auditor, usher_service;
