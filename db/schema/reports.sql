CREATE OR REPLACE FUNCTION audit.unused_grants(since timestamptz) RETURNS SETOF audit.grants
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off AS $$
BEGIN
    IF since IS NULL OR since > clock_timestamp() THEN
        RAISE invalid_parameter_value USING
            MESSAGE = 'the time is null or in the future',
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
COMMENT ON FUNCTION audit.unused_grants(timestamptz) IS 'Grants that hold now, held all the time since, and of which no token since then made use: none of a user that the grant reaches now holds a pattern that is the grant''s, or lies within it, at the grant''s own access (of a confined grant: in its organization). A grant that another one always outdoes is unused too. A report that reads all tokens since then: it takes its time.';

CREATE OR REPLACE FUNCTION usher.matches_nothing(grant_id bigint) RETURNS boolean
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
