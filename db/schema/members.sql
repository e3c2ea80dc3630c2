CREATE OR REPLACE FUNCTION usher.check_history() RETURNS boolean
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
COMMENT ON FUNCTION usher.check_history() IS 'True, or an error where the directory is an application''s and cannot tell the past.';

-- Complains where tokens issued since a time are gone: in months that were
-- pruned, as their records say.
CREATE OR REPLACE FUNCTION usher.check_known(since timestamptz) RETURNS void
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    first timestamptz := (SELECT to_date(max(c.target), 'YYYY-MM') + interval '1 month' FROM usher.changes c WHERE c.action = 'audit.prune');
BEGIN
    IF since < first THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('the tokens issued before %s were pruned', to_char(first, 'YYYY-MM-DD"T"HH24:MI:SS"Z"')),
            HINT = format('All are known that were issued since: ask for a time from %s on.',
                          to_char(first + interval '1 hour', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'));
    END IF;
END
$$;
COMMENT ON FUNCTION usher.check_known(timestamptz) IS 'An error where tokens that were issued since that time were pruned.';

CREATE OR REPLACE VIEW audit.members AS
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
