CREATE OR REPLACE TRIGGER revoke_once BEFORE UPDATE ON usher.grants
    FOR EACH ROW WHEN (OLD.revoked_at IS NOT NULL
        OR (NEW.id, NEW.subject_kind, NEW.subject_id, NEW.organization_id, NEW.resource_kind, NEW.pattern, NEW.access,
            NEW.valid_from, NEW.valid_until, NEW.reason, NEW.created_at, NEW.created_by)
        IS DISTINCT FROM
           (OLD.id, OLD.subject_kind, OLD.subject_id, OLD.organization_id, OLD.resource_kind, OLD.pattern, OLD.access,
            OLD.valid_from, OLD.valid_until, OLD.reason, OLD.created_at, OLD.created_by))
    EXECUTE FUNCTION usher.only_once();
CREATE OR REPLACE TRIGGER keep BEFORE DELETE ON usher.grants
    FOR EACH ROW EXECUTE FUNCTION usher.only_once();
CREATE OR REPLACE TRIGGER keep_all BEFORE TRUNCATE ON usher.grants
    FOR EACH STATEMENT EXECUTE FUNCTION usher.only_once();

-- Sets the times of grants and API keys: see stamp_user.
CREATE OR REPLACE FUNCTION usher.stamp_revocable() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        NEW.created_at := now();
    END IF;
    IF NEW.revoked_at IS NOT NULL THEN
        NEW.revoked_at := greatest(now(), NEW.created_at);
    END IF;
    RETURN NEW;
END
$$;

CREATE OR REPLACE TRIGGER stamp BEFORE INSERT OR UPDATE ON usher.grants
    FOR EACH ROW EXECUTE FUNCTION usher.stamp_revocable();

-- If two active templates differed only in a placeholder, a user whose id equals
-- an organization's id could enter its rooms.
CREATE OR REPLACE FUNCTION usher.check_template() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    other usher.grants;
BEGIN
    -- A concurrent insert waits, and then sees this one.
    PERFORM FROM usher.locks WHERE name = 'templates' FOR UPDATE;
    SELECT * INTO other
      FROM usher.grants g
     WHERE g.resource_kind = NEW.resource_kind
       AND g.template_shape = NEW.template_shape
       AND g.pattern <> g.template_shape
       AND g.pattern <> NEW.pattern
       AND g.revoked_at IS NULL
     LIMIT 1;
    IF FOUND THEN
        RAISE check_violation USING
            CONSTRAINT = 'grants_template_conflict',
            MESSAGE = format('the pattern differs from that of grant %s (%s) only in its placeholders', other.id, other.pattern);
    END IF;
    RETURN NEW;
END
$$;

CREATE OR REPLACE TRIGGER check_template AFTER INSERT ON usher.grants
    FOR EACH ROW WHEN (NEW.pattern <> NEW.template_shape) EXECUTE FUNCTION usher.check_template();

-- A deletion revokes grants and ends memberships, so that a reused id inherits
-- nothing.
CREATE OR REPLACE FUNCTION usher.revoke_of_deleted() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kind  text := TG_ARGV[0];
    actor text := coalesce(nullif(current_setting('usher.actor', true), ''), current_user);
BEGIN
    -- greatest(), because a row can be younger than this transaction.
    UPDATE usher.grants
       SET revoked_at = greatest(now(), created_at), revoked_by = actor, revoke_reason = kind || ' deleted'
     WHERE revoked_at IS NULL
       AND (subject_kind = kind AND subject_id = OLD.id OR kind = 'organization' AND organization_id = OLD.id);
    UPDATE usher.memberships
       SET ended_at = greatest(now(), created_at), ended_by = actor
     WHERE ended_at IS NULL
       AND (kind = 'user' AND user_id = OLD.id OR member_of_kind = kind AND member_of_id = OLD.id);
    RETURN OLD;
END
$$;

CREATE OR REPLACE TRIGGER revoke_of_deleted BEFORE DELETE ON usher.users
    FOR EACH ROW EXECUTE FUNCTION usher.revoke_of_deleted('user');
CREATE OR REPLACE TRIGGER revoke_of_deleted BEFORE DELETE ON usher.organizations
    FOR EACH ROW EXECUTE FUNCTION usher.revoke_of_deleted('organization');
CREATE OR REPLACE TRIGGER revoke_of_deleted BEFORE DELETE ON usher.groups
    FOR EACH ROW EXECUTE FUNCTION usher.revoke_of_deleted('group');

CREATE OR REPLACE VIEW audit.grants AS
SELECT id, subject_kind, subject_id, organization_id::text AS organization_id, resource_kind, pattern, access, valid_from, valid_until,
       greatest(valid_from, created_at) AS holds_from, least(valid_until, revoked_at) AS holds_until,
       reason, created_at, created_by, revoked_at, revoked_by, revoke_reason
  FROM usher.grants;
COMMENT ON VIEW audit.grants IS 'Every past and present grant: who added it, for which subject, when and why, and who revoked it.';
COMMENT ON COLUMN audit.grants.id IS 'Ascending. Never reused.';
COMMENT ON COLUMN audit.grants.subject_kind IS 'user, group, organization or everyone.';
COMMENT ON COLUMN audit.grants.subject_id IS 'Empty for everyone.';
COMMENT ON COLUMN audit.grants.organization_id IS 'If not null, the grant counts only in sessions whose active organization is this one.';
COMMENT ON COLUMN audit.grants.resource_kind IS 'room or store: what the pattern names.';
COMMENT ON COLUMN audit.grants.pattern IS 'An id, a prefix followed by *, or *. May contain {user}, {organization} and {group}.';
COMMENT ON COLUMN audit.grants.access IS 'read or full.';
COMMENT ON COLUMN audit.grants.valid_from IS 'The requested start.';
COMMENT ON COLUMN audit.grants.valid_until IS 'The requested end. Null: never expires.';
COMMENT ON COLUMN audit.grants.holds_from IS 'Start: the later of valid_from and created_at.';
COMMENT ON COLUMN audit.grants.holds_until IS 'End, exclusive: the earlier of valid_until and revoked_at. Null: no end. If this is not later than holds_from, the grant never counted.';
COMMENT ON COLUMN audit.grants.reason IS 'Reason given when the grant was added.';
COMMENT ON COLUMN audit.grants.created_at IS 'When it was added, by the database''s clock at the start of the transaction.';
COMMENT ON COLUMN audit.grants.created_by IS 'Who added it.';
COMMENT ON COLUMN audit.grants.revoked_at IS 'When it was revoked, by the database''s clock at the start of the transaction. Null: not revoked.';
COMMENT ON COLUMN audit.grants.revoked_by IS 'Who revoked it.';
COMMENT ON COLUMN audit.grants.revoke_reason IS 'Reason given when the grant was revoked.';
