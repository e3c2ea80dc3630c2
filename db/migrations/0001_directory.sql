-- Schema usher holds what usher works with; schema audit is what auditors read.
-- Tables are made here. Functions, triggers and views are in ../schema, which
-- usher migrate up applies after these files whenever it has changed.
--
-- Neither role can log in by itself: the login of usher serve is a member of
-- usher_service, auditors are members of usher_auditor.
CREATE SCHEMA IF NOT EXISTS audit; -- an empty one of the owner may be there
GRANT USAGE ON SCHEMA usher TO usher_service; -- made by Migrate, for usher.migrations
GRANT USAGE ON SCHEMA audit TO usher_auditor, usher_service;
GRANT SELECT ON usher.migrations TO usher_service;

-- One row: the hash of the files in ../schema that were applied last, and what
-- they made, so that the next ones can drop what they no longer name.
CREATE TABLE usher.applied_schema (
    singleton  boolean     PRIMARY KEY DEFAULT true CHECK (singleton),
    sha256     text        NOT NULL,
    objects    text[]      NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT ON usher.applied_schema TO usher_service;

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

-- What one at a time may do takes its row FOR UPDATE. Anybody who can connect
-- could take an advisory lock, and hold usher up; these only usher's roles can.
CREATE TABLE usher.locks (
    name  text    PRIMARY KEY,
    taken boolean NOT NULL DEFAULT true -- FOR UPDATE needs the privilege UPDATE on a column
);
INSERT INTO usher.locks (name)
SELECT unnest('{seals,partitions,templates,signing_keys,api_keys,admin_keys}'::text[])
UNION ALL SELECT 'idempotency_keys_' || n FROM generate_series(0, 31) n;
GRANT SELECT, UPDATE (taken) ON usher.locks TO usher_service;

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

-- When the newest token was issued that an identity provider made for a user and
-- usher accepted. An older one changes nothing: it could bring back what has
-- ended. The row outlives the user, for the same reason.
CREATE TABLE usher.provider_tokens (
    user_id   usher.id    NOT NULL,
    issuer    text        NOT NULL,
    issued_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, issuer)
);

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
GRANT SELECT, INSERT, DELETE, UPDATE (info, disabled_at) ON usher.users TO usher_service;
GRANT SELECT, INSERT, DELETE, UPDATE (name) ON usher.organizations, usher.groups TO usher_service;

-- What says when, the database says.
GRANT SELECT, INSERT (user_id, member_of_kind, member_of_id, created_by), UPDATE (ended_at, ended_by) ON usher.memberships TO usher_service;
GRANT SELECT, INSERT, UPDATE (issued_at) ON usher.provider_tokens TO usher_service;
GRANT SELECT, INSERT, DELETE ON usher.sessions TO usher_service;
