-- Schema usher holds what usher works with; schema audit (0003) is what
-- auditors read. Two roles, neither of which can log in by itself: the
-- operator's login role for `usher serve` is a member of usher_service, the
-- auditors' of usher_auditor.

-- +goose Up
-- +goose StatementBegin
DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['usher_service', 'usher_auditor'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
            EXCEPTION
                WHEN duplicate_object OR unique_violation THEN NULL; -- somebody else was faster
                WHEN insufficient_privilege THEN
                    RAISE EXCEPTION 'role % is missing, and % may not create it: somebody who may runs what usher migrate roles prints', wanted, current_user;
            END;
        END IF;
    END LOOP;
END
$$;
-- +goose StatementEnd

GRANT USAGE ON SCHEMA usher TO usher_service; -- made by Migrate, for usher.migrations
GRANT SELECT ON usher.migrations TO usher_service;

-- One row: what this database is to usher. usher dev works in 'dev' databases
-- alone, usher serve in 'production' ones alone.
CREATE TABLE usher.deployment (
    singleton    boolean     PRIMARY KEY DEFAULT true CHECK (singleton),
    mode         text        NOT NULL CHECK (mode IN ('production', 'dev')),
    session_salt bytea       NOT NULL CHECK (octet_length(session_salt) = 32),
    directory    text        NOT NULL DEFAULT 'usher',
    created_at   timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN usher.deployment.session_salt IS 'Salts the sid claim, so that it says nothing of the session token.';
COMMENT ON COLUMN usher.deployment.directory IS 'Whose tables the directory functions read: usher''s own, or an application''s, which keep no history.';
GRANT SELECT ON usher.deployment TO usher_service;

-- Ids are opaque text, compared byte by byte. Their real bound is 128 UTF-16
-- units, which Postgres does not count: usher checks it when it makes them.
CREATE DOMAIN usher.id AS text COLLATE "C"
    CHECK (VALUE <> '' AND char_length(VALUE) <= 128 AND VALUE !~ '[\u0001-\u001f\u007f-\u009f]');

CREATE TABLE usher.users (
    id          usher.id    PRIMARY KEY,
    info        jsonb       CHECK (jsonb_typeof(info) = 'object'),
    disabled_at timestamptz,
    created_at  timestamptz NOT NULL DEFAULT now(),
    created_by  text        NOT NULL
);
COMMENT ON COLUMN usher.users.info IS 'What the ui claim carries: name, avatar, color. No secrets: a token is only encoded.';

-- usher.users shows the present alone; this is who was there, and enabled, at
-- any time. Append-only, written by triggers.
CREATE TABLE usher.user_states (
    id      bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id usher.id    NOT NULL,
    state   text        NOT NULL CHECK (state IN ('enabled', 'disabled', 'deleted')),
    since   timestamptz NOT NULL
);
COMMENT ON COLUMN usher.user_states.since IS 'Until the next row of the same user.';
CREATE INDEX user_states_user_id ON usher.user_states (user_id, since, id);

CREATE TABLE usher.organizations (
    id         usher.id    PRIMARY KEY,
    name       text,
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text        NOT NULL
);

CREATE TABLE usher.groups (
    id              usher.id    PRIMARY KEY,
    organization_id usher.id    REFERENCES usher.organizations,
    name            text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    created_by      text        NOT NULL
);
CREATE INDEX groups_organization_id ON usher.groups (organization_id);

-- A membership is never deleted, only ended: its history is the table.
CREATE TABLE usher.memberships (
    id              bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id         usher.id    NOT NULL,
    member_of_kind  text        NOT NULL CHECK (member_of_kind IN ('organization', 'group')),
    member_of_id    usher.id    NOT NULL,
    organization_id usher.id,
    created_at      timestamptz NOT NULL DEFAULT now(),
    created_by      text        NOT NULL,
    ended_at        timestamptz CHECK (ended_at >= created_at),
    ended_by        text,
    CHECK ((ended_at IS NULL) = (ended_by IS NULL))
);
COMMENT ON COLUMN usher.memberships.organization_id IS 'The organization itself, or that of the group; kept here, since a group may be deleted.';
CREATE UNIQUE INDEX memberships_live ON usher.memberships (user_id, member_of_kind, member_of_id) WHERE ended_at IS NULL;
CREATE INDEX memberships_member_of ON usher.memberships (member_of_kind, member_of_id);
CREATE INDEX memberships_user_id ON usher.memberships (user_id, member_of_kind, member_of_id);

-- Sessions are kept as SHA-256 of the cookie value: who reads the table
-- cannot sign in with what it holds.
CREATE TABLE usher.sessions (
    token_hash      bytea       PRIMARY KEY CHECK (octet_length(token_hash) = 32),
    user_id         usher.id    NOT NULL REFERENCES usher.users ON DELETE CASCADE,
    organization_id usher.id,
    created_at      timestamptz NOT NULL DEFAULT now(),
    expires_at      timestamptz NOT NULL CHECK (expires_at > created_at)
);
CREATE INDEX sessions_user_id ON usher.sessions (user_id);

-- History tables keep no foreign keys, which would forbid deleting what they
-- remember; a membership must still begin between two things that exist.
-- +goose StatementBegin
CREATE FUNCTION usher.check_membership() RETURNS trigger
LANGUAGE plpgsql AS $$
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
-- +goose StatementEnd
CREATE TRIGGER check_membership BEFORE INSERT ON usher.memberships
    FOR EACH ROW EXECUTE FUNCTION usher.check_membership();

-- +goose StatementBegin
CREATE FUNCTION usher.only_once() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE insufficient_privilege USING
        MESSAGE = format('%s of %I.%I is not allowed: its history is the table', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME);
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION usher.only_once() IS 'Trigger that refuses a change of what is kept for ever.';

CREATE TRIGGER end_once BEFORE UPDATE ON usher.memberships
    FOR EACH ROW WHEN (OLD.ended_at IS NOT NULL
        OR (NEW.id, NEW.user_id, NEW.member_of_kind, NEW.member_of_id, NEW.organization_id, NEW.created_at, NEW.created_by)
        IS DISTINCT FROM (OLD.id, OLD.user_id, OLD.member_of_kind, OLD.member_of_id, OLD.organization_id, OLD.created_at, OLD.created_by))
    EXECUTE FUNCTION usher.only_once();
CREATE TRIGGER keep BEFORE DELETE ON usher.memberships
    FOR EACH ROW EXECUTE FUNCTION usher.only_once();
CREATE TRIGGER keep_all BEFORE TRUNCATE ON usher.memberships
    FOR EACH STATEMENT EXECUTE FUNCTION usher.only_once();

-- What says when, the database says, whoever writes: the audit answers for the
-- past by these times. They are those at which a transaction began, so history
-- is exact to its duration. A row can be younger than the transaction that
-- changes it, hence greatest().

-- +goose StatementBegin
CREATE FUNCTION usher.stamp_user() RETURNS trigger
LANGUAGE plpgsql AS $$
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

CREATE FUNCTION usher.record_user_state() RETURNS trigger
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

CREATE FUNCTION usher.stamp_membership() RETURNS trigger
LANGUAGE plpgsql AS $$
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
-- +goose StatementEnd
REVOKE EXECUTE ON FUNCTION usher.record_user_state() FROM PUBLIC;

CREATE TRIGGER keep_identity BEFORE UPDATE ON usher.users
    FOR EACH ROW WHEN ((NEW.id, NEW.created_at, NEW.created_by) IS DISTINCT FROM (OLD.id, OLD.created_at, OLD.created_by))
    EXECUTE FUNCTION usher.only_once();
CREATE TRIGGER stamp BEFORE INSERT OR UPDATE ON usher.users
    FOR EACH ROW EXECUTE FUNCTION usher.stamp_user();
CREATE TRIGGER record_new_state AFTER INSERT OR DELETE ON usher.users
    FOR EACH ROW EXECUTE FUNCTION usher.record_user_state();
CREATE TRIGGER record_state AFTER UPDATE ON usher.users
    FOR EACH ROW WHEN ((OLD.disabled_at IS NULL) <> (NEW.disabled_at IS NULL)) EXECUTE FUNCTION usher.record_user_state();
CREATE TRIGGER stamp BEFORE INSERT OR UPDATE ON usher.memberships
    FOR EACH ROW EXECUTE FUNCTION usher.stamp_membership();

CREATE TRIGGER keep BEFORE UPDATE OR DELETE ON usher.user_states
    FOR EACH ROW EXECUTE FUNCTION usher.only_once();
CREATE TRIGGER keep_all BEFORE TRUNCATE ON usher.user_states
    FOR EACH STATEMENT EXECUTE FUNCTION usher.only_once();
-- No trigger for rows sees a TRUNCATE: it would leave no history.
CREATE TRIGGER keep_all BEFORE TRUNCATE ON usher.users
    FOR EACH STATEMENT EXECUTE FUNCTION usher.only_once();
CREATE TRIGGER keep_all BEFORE TRUNCATE ON usher.organizations
    FOR EACH STATEMENT EXECUTE FUNCTION usher.only_once();
CREATE TRIGGER keep_all BEFORE TRUNCATE ON usher.groups
    FOR EACH STATEMENT EXECUTE FUNCTION usher.only_once();

-- The directory: three functions that say who exists, so that usher fits the
-- database an application already has. A malformed id is no row. These are
-- plain SQL, which Postgres inlines into the look-up of every token; over
-- tables that the service must not read, definers (with their search_path
-- pinned) do the same, slower.

-- +goose StatementBegin
CREATE FUNCTION usher.directory_session(token text)
    RETURNS TABLE (user_id text, organization_id text, expires_at timestamptz)
LANGUAGE sql STABLE ROWS 1 AS $$
    SELECT s.user_id::text, s.organization_id::text, s.expires_at
      FROM usher.sessions s
     WHERE s.token_hash = sha256(convert_to(directory_session.token, 'UTF8'))
$$;

CREATE FUNCTION usher.directory_user(id text)
    RETURNS TABLE (info jsonb, disabled boolean)
LANGUAGE sql STABLE ROWS 1 AS $$
    SELECT u.info, u.disabled_at IS NOT NULL
      FROM usher.users u
     WHERE u.id = directory_user.id COLLATE "C"
$$;

CREATE FUNCTION usher.directory_memberships(user_id text)
    RETURNS TABLE (kind text, id text, organization_id text)
LANGUAGE sql STABLE ROWS 10 AS $$
    SELECT m.member_of_kind, m.member_of_id::text, m.organization_id::text
      FROM usher.memberships m
     WHERE m.user_id = directory_memberships.user_id COLLATE "C"
       AND m.ended_at IS NULL
$$;
-- +goose StatementEnd

-- The same directory as two views, which serve the audit only.
CREATE VIEW usher.directory_users AS
SELECT id::text AS id, info, disabled_at IS NOT NULL AS disabled
  FROM usher.users;

CREATE VIEW usher.directory_members AS
SELECT user_id::text AS user_id, member_of_kind AS kind, member_of_id::text AS id, organization_id::text AS organization_id
  FROM usher.memberships
 WHERE ended_at IS NULL;

REVOKE EXECUTE ON FUNCTION usher.directory_session(text), usher.directory_user(text), usher.directory_memberships(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION usher.directory_session(text), usher.directory_user(text), usher.directory_memberships(text) TO usher_service;

GRANT SELECT, INSERT, DELETE, UPDATE (info, disabled_at) ON usher.users TO usher_service;
GRANT SELECT, INSERT, DELETE, UPDATE (name) ON usher.organizations, usher.groups TO usher_service;
-- What says when, the database says.
GRANT SELECT, INSERT (user_id, member_of_kind, member_of_id, created_by), UPDATE (ended_at, ended_by) ON usher.memberships TO usher_service;
GRANT SELECT, INSERT, DELETE ON usher.sessions TO usher_service;
