-- usher's own directory: the rules for its tables, and their history. The
-- functions and views that look-ups and the audit read are in
-- ../directories/usher.sql.

-- History tables have no foreign keys, because those would forbid to delete what
-- the history names. A new membership must still be of a user that exists, in an
-- organization or group that exists.
CREATE OR REPLACE FUNCTION usher.check_membership() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM FROM usher.users WHERE id = NEW.user_id FOR KEY SHARE;
    IF NOT FOUND THEN
        RAISE foreign_key_violation USING MESSAGE = 'no such user', CONSTRAINT = 'membership_user';
    END IF;
    IF NEW.member_of_kind = 'organization' THEN
        SELECT id INTO NEW.organization_id FROM usher.organizations WHERE id = NEW.member_of_id FOR KEY SHARE;
    ELSE
        SELECT organization_id INTO NEW.organization_id FROM usher.groups WHERE id = NEW.member_of_id FOR KEY SHARE;
    END IF;
    IF NOT FOUND THEN
        RAISE foreign_key_violation USING MESSAGE = 'no such ' || NEW.member_of_kind, CONSTRAINT = 'membership_of';
    END IF;
    RETURN NEW;
END
$$;
CREATE OR REPLACE TRIGGER check_membership BEFORE INSERT ON usher.memberships
    FOR EACH ROW EXECUTE FUNCTION usher.check_membership();

CREATE OR REPLACE FUNCTION usher.only_once() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE insufficient_privilege USING
        MESSAGE = format('%s of %I.%I is not allowed: the table is a history', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME);
END
$$;
COMMENT ON FUNCTION usher.only_once() IS 'Trigger that refuses to change or delete rows of a history.';

CREATE OR REPLACE TRIGGER end_once BEFORE UPDATE ON usher.memberships
    FOR EACH ROW WHEN (OLD.ended_at IS NOT NULL
        OR (NEW.id, NEW.user_id, NEW.member_of_kind, NEW.member_of_id, NEW.organization_id, NEW.created_at, NEW.created_by)
        IS DISTINCT FROM (OLD.id, OLD.user_id, OLD.member_of_kind, OLD.member_of_id, OLD.organization_id, OLD.created_at, OLD.created_by))
    EXECUTE FUNCTION usher.only_once();
CREATE OR REPLACE TRIGGER keep BEFORE DELETE ON usher.memberships
    FOR EACH ROW EXECUTE FUNCTION usher.only_once();
CREATE OR REPLACE TRIGGER keep_all BEFORE TRUNCATE ON usher.memberships
    FOR EACH STATEMENT EXECUTE FUNCTION usher.only_once();

-- The database sets all times, whatever role writes, because the audit answers
-- questions about the past by these times. Each is the start of a transaction, so
-- the history is exact to the duration of a transaction. greatest(), because a row
-- can be younger than the transaction that changes it.
CREATE OR REPLACE FUNCTION usher.stamp_user() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        NEW.created_at := now();
        NEW.disabled_at := CASE WHEN NEW.disabled_at IS NOT NULL THEN now() END;
    ELSIF NEW.disabled_at IS NOT NULL THEN
        NEW.disabled_at := coalesce(OLD.disabled_at, greatest(now(), OLD.created_at));
    END IF;
    RETURN NEW;
END
$$;

CREATE OR REPLACE FUNCTION usher.record_user_state() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    changed usher.users := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
BEGIN
    INSERT INTO usher.user_states (user_id, state, since)
    SELECT changed.id,
           CASE WHEN TG_OP = 'DELETE' THEN 'deleted' WHEN changed.disabled_at IS NULL THEN 'enabled' ELSE 'disabled' END,
           greatest(now(), (SELECT max(s.since) FROM usher.user_states s WHERE s.user_id = changed.id));
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION usher.stamp_membership() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        NEW.created_at := now();
    END IF;
    IF NEW.ended_at IS NOT NULL THEN
        NEW.ended_at := greatest(now(), NEW.created_at);
    END IF;
    RETURN NEW;
END
$$;
CREATE OR REPLACE TRIGGER keep_identity BEFORE UPDATE ON usher.users
    FOR EACH ROW WHEN ((NEW.id, NEW.created_at, NEW.created_by) IS DISTINCT FROM (OLD.id, OLD.created_at, OLD.created_by))
    EXECUTE FUNCTION usher.only_once();
CREATE OR REPLACE TRIGGER stamp BEFORE INSERT OR UPDATE ON usher.users
    FOR EACH ROW EXECUTE FUNCTION usher.stamp_user();
CREATE OR REPLACE TRIGGER record_new_state AFTER INSERT OR DELETE ON usher.users
    FOR EACH ROW EXECUTE FUNCTION usher.record_user_state();
CREATE OR REPLACE TRIGGER record_state AFTER UPDATE ON usher.users
    FOR EACH ROW WHEN ((OLD.disabled_at IS NULL) <> (NEW.disabled_at IS NULL)) EXECUTE FUNCTION usher.record_user_state();
CREATE OR REPLACE TRIGGER stamp BEFORE INSERT OR UPDATE ON usher.memberships
    FOR EACH ROW EXECUTE FUNCTION usher.stamp_membership();
CREATE OR REPLACE TRIGGER keep BEFORE UPDATE OR DELETE ON usher.user_states
    FOR EACH ROW EXECUTE FUNCTION usher.only_once();
CREATE OR REPLACE TRIGGER keep_all BEFORE TRUNCATE ON usher.user_states
    FOR EACH STATEMENT EXECUTE FUNCTION usher.only_once();

-- TRUNCATE runs no row triggers, so it would leave no history.
CREATE OR REPLACE TRIGGER keep_all BEFORE TRUNCATE ON usher.users
    FOR EACH STATEMENT EXECUTE FUNCTION usher.only_once();
CREATE OR REPLACE TRIGGER keep_all BEFORE TRUNCATE ON usher.organizations
    FOR EACH STATEMENT EXECUTE FUNCTION usher.only_once();
CREATE OR REPLACE TRIGGER keep_all BEFORE TRUNCATE ON usher.groups
    FOR EACH STATEMENT EXECUTE FUNCTION usher.only_once();

-- If the directory is an application's (usher directory use), usher's own tables
-- have no effect. A write there would mislead its author, and a deletion would
-- revoke the grants of the application's user.
CREATE OR REPLACE FUNCTION usher.check_own_directory() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    in_force text := (SELECT directory FROM usher.deployment);
BEGIN
    IF in_force <> 'usher' THEN
        RAISE check_violation USING
            CONSTRAINT = 'own_directory',
            MESSAGE = format('the directory is %s: change users, organizations, groups, members and sessions there', in_force);
    END IF;
    RETURN NULL;
END
$$;
CREATE OR REPLACE TRIGGER own_directory BEFORE INSERT OR UPDATE OR DELETE ON usher.users
    FOR EACH STATEMENT EXECUTE FUNCTION usher.check_own_directory();
CREATE OR REPLACE TRIGGER own_directory BEFORE INSERT OR UPDATE OR DELETE ON usher.organizations
    FOR EACH STATEMENT EXECUTE FUNCTION usher.check_own_directory();
CREATE OR REPLACE TRIGGER own_directory BEFORE INSERT OR UPDATE OR DELETE ON usher.groups
    FOR EACH STATEMENT EXECUTE FUNCTION usher.check_own_directory();
CREATE OR REPLACE TRIGGER own_directory BEFORE INSERT OR UPDATE OR DELETE ON usher.memberships
    FOR EACH STATEMENT EXECUTE FUNCTION usher.check_own_directory();
CREATE OR REPLACE TRIGGER own_directory BEFORE INSERT OR UPDATE OR DELETE ON usher.sessions
    FOR EACH STATEMENT EXECUTE FUNCTION usher.check_own_directory();
