-- What a placeholder becomes, by the rules of audit.expand; null for a value that
-- does not fit. '{' becomes another character, so that no part of a value is taken
-- for a placeholder.
CREATE OR REPLACE FUNCTION usher.filling(kind text, value text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN value ~ CASE kind WHEN 'room' THEN '^[^*:/.\u0001-\u001f\u007f-\u009f]+$' ELSE '^[A-Za-z0-9-]+$' END
             AND (octet_length(value) <= 128 OR audit.utf16_units(value) <= 128) THEN translate(value, '{', chr(1)) END;

CREATE OR REPLACE FUNCTION audit.unused_grants(since timestamptz) RETURNS SETOF audit.grants
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off SET work_mem = '128MB'
SET enable_sort = off SET enable_mergejoin = off SET enable_nestloop = off SET enable_memoize = off AS $$
BEGIN
    IF since IS NULL OR since > clock_timestamp() THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'the time is null or in the future',
            HINT = 'Give a past time, for example now() - interval ''30 days'': grants that no token used since then are listed.';
    END IF;
    PERFORM usher.check_known(since);
    RETURN QUERY
    -- Only joins, not usher.reach for each user, which would be slow. The settings
    -- above make them hash joins, whatever the statistics say. First those of equal
    -- patterns, then those of wildcards for the grants that are left.
    -- With less work_mem, the hash tables of a million tokens go through files. A small
    -- report stays small.
    WITH carried AS MATERIALIZED (
        -- The patterns of tokens. Functions in the select list are several times faster
        -- than jsonb_each in FROM, which stores its rows first.
        SELECT DISTINCT t.user_id, t.organization_id, t.kind || ' ' || (t.given ->> t.pattern) AS gives, t.pattern COLLATE "C" AS pattern
          FROM (SELECT t.user_id, t.organization_id, t.kind, t.patterns -> t.kind AS given, jsonb_object_keys(t.patterns -> t.kind) AS pattern
                  FROM (SELECT t.user_id, t.organization_id, t.patterns, jsonb_object_keys(t.patterns) AS kind
                          FROM usher.decisions t
                         WHERE t.result = 'issued' AND t.issued_at >= unused_grants.since) t) t
    ), held AS MATERIALIZED (
        SELECT g.id, g.subject_kind, g.subject_id COLLATE "C" AS subject_id, g.organization_id COLLATE "C" AS confined_to,
               g.resource_kind || 's ' || g.access AS gives, g.pattern COLLATE "C" AS pattern, strpos(g.pattern, '{') > 0 AS is_template
          FROM audit.grants g
         WHERE g.revoked_at IS NULL AND g.holds_from <= unused_grants.since AND (g.holds_until IS NULL OR g.holds_until > now())
    ), placeholder AS MATERIALIZED (
        -- The values to prepare.
        SELECT DISTINCT p.name, starts_with(h.gives, 'rooms') AS in_rooms
          FROM held h
          JOIN (VALUES ('user'), ('organization'), ('group')) p (name) ON strpos(h.pattern, '{' || p.name || '}') > 0
         WHERE h.is_template
    ), active AS MATERIALIZED (
        SELECT u.id COLLATE "C" AS id,
               CASE WHEN ('user', true) IN (SELECT p.name, p.in_rooms FROM placeholder p) THEN usher.filling('room', u.id) END AS in_rooms,
               CASE WHEN ('user', false) IN (SELECT p.name, p.in_rooms FROM placeholder p) THEN usher.filling('store', u.id) END AS in_stores
          FROM usher.directory_users u
         WHERE NOT u.disabled AND u.id COLLATE "C" IN (SELECT c.user_id FROM carried c)
    ), listed AS MATERIALIZED (
        SELECT DISTINCT m.user_id COLLATE "C" AS user_id, m.kind, m.id COLLATE "C" AS id, m.organization_id COLLATE "C" AS organization_id,
               CASE WHEN (m.kind, true) IN (SELECT p.name, p.in_rooms FROM placeholder p) THEN usher.filling('room', m.id) END AS in_rooms,
               CASE WHEN (m.kind, false) IN (SELECT p.name, p.in_rooms FROM placeholder p) THEN usher.filling('store', m.id) END AS in_stores
          FROM usher.directory_members m
          JOIN active a ON a.id = m.user_id COLLATE "C"
    ), reached AS (
        -- The users of each grant, except of those that need no list: to a user, and to
        -- everyone, without a placeholder.
        SELECT h.subject_id AS user_id, h.*
          FROM held h
         WHERE h.subject_kind = 'user' AND h.is_template
        UNION ALL
        SELECT l.user_id, h.*
          FROM held h
          JOIN listed l ON l.kind = h.subject_kind AND l.id = h.subject_id
         WHERE h.subject_kind IN ('organization', 'group') AND (h.confined_to IS NULL OR l.organization_id = h.confined_to)
        UNION ALL
        SELECT a.id, h.*
          FROM held h
         CROSS JOIN active a
         WHERE h.subject_kind = 'everyone' AND h.confined_to IS NULL AND h.is_template
        UNION ALL
        SELECT l.user_id, h.*
          FROM held h
          JOIN listed l ON l.kind = 'organization' AND l.id = h.confined_to
         WHERE h.subject_kind = 'everyone'
    ), filled AS MATERIALIZED (
        -- The patterns that they get. The values of a template are those that count
        -- in the session.
        SELECT r.user_id, r.id, r.gives, r.confined_to,
               CASE WHEN NOT r.is_template THEN r.pattern ELSE replace(replace(replace(replace(r.pattern,
                   '{user}', CASE WHEN NOT r.of_user THEN '' WHEN r.in_rooms THEN a.in_rooms ELSE a.in_stores END),
                   '{organization}', CASE WHEN NOT r.of_organization THEN '' WHEN r.in_rooms THEN o.in_rooms ELSE o.in_stores END),
                   '{group}', CASE WHEN NOT r.of_group THEN '' WHEN r.in_rooms THEN n.in_rooms ELSE n.in_stores END),
                   chr(1), '{') END AS pattern
          FROM (SELECT r.*, starts_with(r.gives, 'rooms') AS in_rooms, r.is_template AND strpos(r.pattern, '{user}') > 0 AS of_user,
                       r.is_template AND strpos(r.pattern, '{organization}') > 0 AS of_organization,
                       r.is_template AND strpos(r.pattern, '{group}') > 0 AS of_group
                  FROM reached r) r
          LEFT JOIN active a ON r.of_user AND a.id = r.user_id
          LEFT JOIN listed o ON r.of_organization AND o.user_id = r.user_id AND o.kind = 'organization'
                            AND o.id = coalesce(CASE WHEN r.subject_kind = 'organization' THEN r.subject_id END, r.confined_to, o.id)
          LEFT JOIN listed n ON r.of_group AND n.user_id = r.user_id AND n.kind = 'group'
                            AND CASE WHEN r.subject_kind = 'group' THEN n.id = r.subject_id ELSE r.confined_to IS NULL OR n.organization_id = r.confined_to END
    ), given AS NOT MATERIALIZED (
        SELECT f.user_id, f.id, f.gives, f.confined_to, f.pattern, left(f.pattern, -1) AS prefix FROM filled f
        UNION ALL
        SELECT h.subject_id, h.id, h.gives, h.confined_to, h.pattern, left(h.pattern, -1) FROM held h WHERE h.subject_kind = 'user' AND NOT h.is_template
    ), exact AS MATERIALIZED (
        -- A confined grant only applies to members of its organization. IS TRUE: check the
        -- user only of the pairs that are found.
        SELECT DISTINCT g.id
          FROM given g
          JOIN carried c ON c.user_id = g.user_id AND c.gives = g.gives AND c.pattern = g.pattern
         WHERE (c.user_id IN (SELECT a.id FROM active a)) IS TRUE
           AND (g.confined_to IS NULL OR g.confined_to = c.organization_id
                AND (c.user_id, g.confined_to) IN (SELECT l.user_id, l.id FROM listed l WHERE l.kind = 'organization'))
    ), used AS (
        SELECT e.id FROM exact e
        UNION ALL
        SELECT g.id
          FROM given g
          JOIN carried c ON c.user_id = g.user_id AND c.gives = g.gives AND starts_with(c.pattern, g.prefix)
         WHERE right(g.pattern, 1) = '*' AND g.id NOT IN (SELECT e.id FROM exact e)
           AND (c.user_id IN (SELECT a.id FROM active a)) IS TRUE
           AND (g.confined_to IS NULL OR g.confined_to = c.organization_id
                AND (c.user_id, g.confined_to) IN (SELECT l.user_id, l.id FROM listed l WHERE l.kind = 'organization'))
        UNION ALL
        SELECT h.id
          FROM held h
          JOIN carried c ON c.gives = h.gives
                        AND CASE WHEN right(h.pattern, 1) = '*' THEN starts_with(c.pattern, left(h.pattern, -1)) ELSE c.pattern = h.pattern END
         WHERE h.subject_kind = 'everyone' AND h.confined_to IS NULL AND NOT h.is_template
    )
    SELECT g.*
      FROM audit.grants g
     WHERE g.revoked_at IS NULL AND g.holds_from <= unused_grants.since AND (g.holds_until IS NULL OR g.holds_until > now())
       AND (g.id NOT IN (SELECT u.id FROM used u) OR NOT audit.is_template(g.resource_kind, g.pattern));
END
$$;
COMMENT ON FUNCTION audit.unused_grants(timestamptz) IS 'Grants that were active since a time, are active now, and were used by no token since then. A grant was used if it applies to a user now, and that user got a token with its pattern, or with a pattern within it, at exactly its access. If the grant is confined to an organization, the token must be of a session of that organization. So a grant is also unused if another one always gives more. Reads all tokens since then. Fails if some of them were pruned.';

-- Whether a grant with a template gives nothing to anybody. It asks usher.reach
-- only for the users of the grant's subject, until one has it.
CREATE OR REPLACE FUNCTION usher.matches_nothing(grant_id bigint) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off AS $$
DECLARE
    g         usher.grants;
    candidate text;
BEGIN
    SELECT * INTO g FROM usher.grants o WHERE o.id = matches_nothing.grant_id;
    FOR candidate IN
        SELECT g.subject_id WHERE g.subject_kind = 'user'
        UNION ALL SELECT m.user_id COLLATE "default" FROM usher.members_at(NULL, g.subject_kind, g.subject_id) m
        UNION ALL SELECT u.id COLLATE "default" FROM usher.directory_users u WHERE g.subject_kind = 'everyone' AND g.organization_id IS NULL
        UNION ALL SELECT m.user_id COLLATE "default" FROM usher.members_at(NULL, 'organization', g.organization_id) m WHERE g.subject_kind = 'everyone'
    LOOP
        IF EXISTS (SELECT FROM usher.reach(candidate) r WHERE r.grant_id = g.id) THEN
            RETURN false;
        END IF;
    END LOOP;
    RETURN true;
END
$$;

CREATE OR REPLACE VIEW audit.risky_grants AS
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
COMMENT ON VIEW audit.risky_grants IS 'Grants and API keys that need a review, of those that are or will be active. One may have several rows.';
COMMENT ON COLUMN audit.risky_grants.reason IS 'everything: the pattern is *. open_prefix: the * does not end a segment, as in acme*, which also matches acme-evil. full_for_everyone: every user may write, and the pattern has no placeholder. matches_nothing: at present, the values of no user fit the template. never_expires: the API key has no expiry.';
COMMENT ON COLUMN audit.risky_grants.grant_id IS 'Row of audit.grants. Null for an API key.';
COMMENT ON COLUMN audit.risky_grants.api_key_id IS 'The API key. Null for a grant.';
COMMENT ON COLUMN audit.risky_grants.subject_kind IS 'user, group, organization or everyone. Null for an API key.';
COMMENT ON COLUMN audit.risky_grants.subject_id IS 'Empty for everyone. Null for an API key.';
COMMENT ON COLUMN audit.risky_grants.organization_id IS 'If not null, the grant counts only in sessions whose active organization is this one.';
COMMENT ON COLUMN audit.risky_grants.resource_kind IS 'room or store. Null for an API key, whose scope may contain both.';
COMMENT ON COLUMN audit.risky_grants.pattern IS 'The pattern as it was granted. Null for an API key.';
COMMENT ON COLUMN audit.risky_grants.access IS 'read or full. Null for an API key.';
COMMENT ON COLUMN audit.risky_grants.created_at IS 'When it was added, by the database''s clock.';
COMMENT ON COLUMN audit.risky_grants.created_by IS 'Who added the grant or the key.';
