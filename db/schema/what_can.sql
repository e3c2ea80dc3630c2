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
COMMENT ON TYPE audit.reach IS 'A pattern that a user can open now, and the grant that allows it.';
COMMENT ON COLUMN audit.reach.resource_kind IS 'Kind of the pattern: room or store.';
COMMENT ON COLUMN audit.reach.pattern IS 'The pattern with its placeholders replaced.';
COMMENT ON COLUMN audit.reach.access IS 'read or full. Of all patterns that match an id, the strongest counts.';
COMMENT ON COLUMN audit.reach.grant_id IS 'Row of audit.grants.';
COMMENT ON COLUMN audit.reach.granted IS 'The pattern as it was granted, with its placeholders.';
COMMENT ON COLUMN audit.reach.through_kind IS 'The subject of the grant: user, group, organization or everyone.';
COMMENT ON COLUMN audit.reach.through_id IS 'Id of that subject. Empty for everyone.';
COMMENT ON COLUMN audit.reach.organization_id IS 'The session must have this active organization. Null if no active organization is needed.';

-- PL/pgSQL, because Postgres would inline plain SQL. In a query over many users,
-- it would then use the memberships of the first user for the others: the EXISTS
-- on the CTE becomes a hashed subplan, which Postgres does not hash again.
CREATE OR REPLACE FUNCTION usher.reach(user_id text) RETURNS SETOF audit.reach
LANGUAGE plpgsql STABLE ROWS 20
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    RETURN QUERY
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
               AND (g.subject_kind IN ('user', 'everyone') OR s.organization_id = g.organization_id));
END
$$;

CREATE OR REPLACE FUNCTION audit.what_can(user_id text) RETURNS SETOF audit.reach
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off AS $$
BEGIN
    RETURN QUERY SELECT r.* FROM usher.reach(what_can.user_id) r;
END
$$;
COMMENT ON FUNCTION audit.what_can(text) IS 'What a user can open now, and through which grants, including those to everyone. No rows for a user who is disabled or not in the directory.';

CREATE OR REPLACE FUNCTION usher.active_users() RETURNS TABLE (id text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY SELECT u.id FROM usher.directory_users u WHERE NOT u.disabled;
END
$$;

CREATE OR REPLACE FUNCTION usher.has_active_member(organization_id text) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN EXISTS (SELECT FROM usher.members_at(NULL, 'organization', has_active_member.organization_id) m
                    CROSS JOIN LATERAL usher.is_active_at(NULL, m.user_id));
END
$$;

-- Uses only functions of the directory. Its views are replaced when the directory
-- changes, so nothing may depend on them.
CREATE OR REPLACE VIEW audit.access AS
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
   AND k.routes && ARRAY['auth', 'authorize-user']
   -- A key limited to an organization must name a member of it.
   AND (o.id IS NULL OR usher.has_active_member(o.id));
COMMENT ON VIEW audit.access IS 'Who can open what now, and through which grant. It has a row for each user and grant, so reading all of it is slow: filter by principal_id, or use audit.who_can. A grant to everyone without a placeholder has one row, under everyone; audit.what_can(user_id) lists it for each user.';
COMMENT ON COLUMN audit.access.principal_kind IS 'user, everyone (all users of the directory), or api_key (whoever has the key can get a token).';
COMMENT ON COLUMN audit.access.principal_id IS 'Id of the user or the API key. Empty for everyone.';
COMMENT ON COLUMN audit.access.resource_kind IS 'Kind of the pattern: room or store.';
COMMENT ON COLUMN audit.access.pattern IS 'The pattern with its placeholders replaced.';
COMMENT ON COLUMN audit.access.access IS 'read or full. Of all patterns that match an id, the strongest counts.';
COMMENT ON COLUMN audit.access.grant_id IS 'Row of audit.grants. Null for an API key, which has a scope.';
COMMENT ON COLUMN audit.access.granted IS 'The pattern as it was granted, with its placeholders.';
COMMENT ON COLUMN audit.access.through_kind IS 'The subject of the grant: user, group, organization or everyone. api_key for a key.';
COMMENT ON COLUMN audit.access.through_id IS 'Id of that subject. Empty for everyone.';
COMMENT ON COLUMN audit.access.organization_id IS 'The session must have this active organization, or the request with an API key must name it. Null if no active organization is needed. In a session with an active organization, only groups, organizations and values of placeholders of that organization count.';
