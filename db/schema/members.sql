CREATE OR REPLACE FUNCTION usher.check_history() RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    other text := (SELECT d.directory FROM usher.deployment d WHERE d.directory <> 'usher');
BEGIN
    IF other IS NOT NULL THEN
        RAISE feature_not_supported USING
            MESSAGE = format('the directory is %s, which keeps no history of users and members', other),
            HINT = 'Use audit.holders(kind, id, at) for the tokens that opened an id at any time, or audit.who_can for now.';
    END IF;
    RETURN true;
END
$$;
COMMENT ON FUNCTION usher.check_history() IS 'Returns true, or fails if the directory is an application''s, which keeps no history.';

-- Fails if tokens issued since a time were pruned. The records of audit.prune say
-- which months were.
CREATE OR REPLACE FUNCTION usher.check_known(since timestamptz) RETURNS void
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    first timestamptz := (SELECT to_date(max(c.target), 'YYYY-MM') + interval '1 month' FROM usher.changes c WHERE c.action = 'audit.prune');
BEGIN
    IF since < first THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('the tokens issued before %s were pruned', to_char(first, 'YYYY-MM-DD"T"HH24:MI:SS"Z"')),
            HINT = format('All later tokens remain: give %s or a later time.',
                          to_char(first + interval '1 hour', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'));
    END IF;
END
$$;
COMMENT ON FUNCTION usher.check_known(timestamptz) IS 'Fails if tokens issued since that time were pruned.';

CREATE OR REPLACE VIEW audit.members AS
SELECT user_id::text AS user_id, member_of_kind AS kind, member_of_id::text AS id, organization_id::text AS organization_id,
       created_at AS since, ended_at AS until, created_by AS added_by, ended_by
  FROM usher.memberships
 WHERE usher.check_history();
COMMENT ON VIEW audit.members IS 'Every past and present membership in usher''s own directory. Fails if the directory is an application''s.';
COMMENT ON COLUMN audit.members.user_id IS 'The member.';
COMMENT ON COLUMN audit.members.kind IS 'Kind of id: organization or group.';
COMMENT ON COLUMN audit.members.id IS 'The organization or group of which the user is or was a member.';
COMMENT ON COLUMN audit.members.organization_id IS 'The organization itself, or the group''s organization. Null if the group has none.';
COMMENT ON COLUMN audit.members.since IS 'Start, by the database''s clock.';
COMMENT ON COLUMN audit.members.until IS 'End, exclusive. Null: not ended.';
COMMENT ON COLUMN audit.members.added_by IS 'Who added it.';
COMMENT ON COLUMN audit.members.ended_by IS 'Who ended it.';

-- The functions that follow read the directory at one time: now if at is null.

CREATE OR REPLACE FUNCTION usher.members_at(at timestamptz, kind text, id text) RETURNS TABLE (user_id text)
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

CREATE OR REPLACE FUNCTION usher.memberships_at(at timestamptz, user_id text) RETURNS TABLE (kind text, id text, organization_id text)
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

CREATE OR REPLACE FUNCTION usher.is_active_at(at timestamptz, user_id text) RETURNS TABLE (active boolean)
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

CREATE OR REPLACE FUNCTION usher.holds_at(at timestamptz, valid_from timestamptz, valid_until timestamptz, created_at timestamptz, revoked_at timestamptz) RETURNS boolean
LANGUAGE sql STABLE
RETURN CASE WHEN at IS NULL
                THEN revoked_at IS NULL AND valid_from <= now() AND (valid_until IS NULL OR valid_until > now())
                ELSE valid_from <= at AND created_at <= at AND (valid_until IS NULL OR valid_until > at) AND (revoked_at IS NULL OR revoked_at > at) END;
