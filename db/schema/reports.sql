CREATE OR REPLACE FUNCTION audit.unused_grants(since timestamptz) RETURNS SETOF audit.grants
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off AS $$
BEGIN
    IF since IS NULL OR since > clock_timestamp() THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'the time is null or in the future',
            HINT = 'Give a past time, for example now() - interval ''30 days'': grants that no token used since then are listed.';
    END IF;
    PERFORM usher.check_known(since);
    RETURN QUERY
    -- Only joins, not usher.reach for each user, which would be slow. Most tokens of
    -- a user contain the same patterns, so they are grouped before they are split.
    WITH held AS MATERIALIZED (
        SELECT g.id, g.subject_kind, g.subject_id COLLATE "default" AS subject_id, g.organization_id COLLATE "default" AS confined_to,
               g.resource_kind, g.pattern, g.access,
               strpos(g.pattern, '{') > 0 AS is_template
          FROM audit.grants g
         WHERE g.revoked_at IS NULL AND g.holds_from <= unused_grants.since AND (g.holds_until IS NULL OR g.holds_until > now())
    ), issued AS MATERIALIZED (
        SELECT t.user_id COLLATE "default" AS user_id, t.organization_id COLLATE "default" AS organization_id, t.patterns
          FROM usher.decisions t
         WHERE t.result = 'issued' AND t.issued_at >= unused_grants.since
         GROUP BY 1, 2, 3
    ), active AS MATERIALIZED (
        SELECT u.id COLLATE "default" AS id
          FROM usher.directory_users u
         WHERE NOT u.disabled AND u.id COLLATE "default" IN (SELECT i.user_id FROM issued i)
    ), carried AS MATERIALIZED (
        SELECT DISTINCT i.user_id, i.organization_id, k.resource_kind, p.key AS pattern, p.value AS access
          FROM issued i
          JOIN active a ON a.id = i.user_id
         CROSS JOIN LATERAL (VALUES ('room', i.patterns -> 'rooms'), ('store', i.patterns -> 'stores')) k (resource_kind, patterns)
         CROSS JOIN LATERAL jsonb_each_text(k.patterns) p
    ), listed AS MATERIALIZED (
        SELECT DISTINCT m.user_id COLLATE "default" AS user_id, m.kind, m.id COLLATE "default" AS id, m.organization_id COLLATE "default" AS organization_id
          FROM usher.directory_members m
          JOIN active a ON a.id = m.user_id COLLATE "default"
    ), subject AS (
        SELECT 'user' AS kind, a.id, a.id AS user_id, NULL AS organization_id FROM active a
        UNION ALL SELECT l.kind, l.id, l.user_id, l.organization_id FROM listed l
    ), reached AS MATERIALIZED (
        -- The users of each grant. A grant to everyone without a placeholder is for
        -- all users: see used.
        SELECT s.user_id, h.id
          FROM held h
          JOIN subject s ON s.kind = h.subject_kind AND s.id = h.subject_id
         WHERE h.confined_to IS NULL OR h.subject_kind = 'user' OR s.organization_id = h.confined_to
        UNION
        SELECT a.id, h.id
          FROM held h
         CROSS JOIN active a
         WHERE h.subject_kind = 'everyone' AND h.confined_to IS NULL AND h.is_template
        UNION
        SELECT l.user_id, h.id
          FROM held h
          JOIN listed l ON l.kind = 'organization' AND l.id = h.confined_to
         WHERE h.subject_kind = 'everyone'
    ), filled AS MATERIALIZED (
        -- The patterns that they get. The values of a template are those that count
        -- in the session.
        SELECT r.user_id, r.id, p.pattern
          FROM reached r
          JOIN held h ON h.id = r.id AND h.is_template
          LEFT JOIN (SELECT l.user_id, l.kind, array_agg(l.id) AS ids FROM listed l GROUP BY 1, 2) o
                 ON o.user_id = r.user_id AND o.kind = 'organization' AND h.confined_to IS NULL
          LEFT JOIN (SELECT l.user_id, l.kind, array_agg(l.id) AS ids FROM listed l GROUP BY 1, 2) n
                 ON n.user_id = r.user_id AND n.kind = 'group' AND h.confined_to IS NULL
          LEFT JOIN (SELECT l.user_id, l.organization_id, array_agg(l.id) AS ids FROM listed l WHERE l.kind = 'group' GROUP BY 1, 2) c
                 ON c.user_id = r.user_id AND c.organization_id = h.confined_to
         CROSS JOIN LATERAL audit.expand(h.resource_kind, h.pattern, r.user_id,
            CASE WHEN h.subject_kind = 'organization' THEN ARRAY[h.subject_id]
                 WHEN h.confined_to IS NOT NULL THEN ARRAY[h.confined_to] ELSE o.ids END,
            CASE WHEN h.subject_kind = 'group' THEN ARRAY[h.subject_id]
                 WHEN h.confined_to IS NOT NULL THEN c.ids ELSE n.ids END) p (pattern)
        UNION ALL
        SELECT r.user_id, r.id, h.pattern
          FROM reached r
          JOIN held h ON h.id = r.id AND NOT h.is_template
         WHERE audit.is_template(h.resource_kind, h.pattern)
    ), used AS MATERIALIZED (
        SELECT DISTINCT f.id
          FROM filled f
          JOIN held h ON h.id = f.id
          JOIN carried c ON c.user_id = f.user_id AND c.resource_kind = h.resource_kind AND c.access = h.access
         WHERE audit.pattern_covers(f.pattern, c.pattern)
           AND (h.confined_to IS NULL OR h.confined_to = c.organization_id)
           -- A confined grant counts only for members, whatever its subject is.
           AND (h.confined_to IS NULL OR EXISTS (SELECT FROM listed l WHERE l.user_id = f.user_id AND l.kind = 'organization' AND l.id = h.confined_to))
        UNION
        SELECT h.id
          FROM held h
          JOIN (SELECT DISTINCT c.resource_kind, c.pattern, c.access FROM carried c) c ON c.resource_kind = h.resource_kind AND c.access = h.access
         WHERE h.subject_kind = 'everyone' AND h.confined_to IS NULL AND NOT h.is_template
           AND audit.is_template(h.resource_kind, h.pattern) AND audit.pattern_covers(h.pattern, c.pattern)
    )
    SELECT g.*
      FROM held h
      JOIN audit.grants g ON g.id = h.id
     WHERE h.id NOT IN (SELECT u.id FROM used u);
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
