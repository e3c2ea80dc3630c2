-- Schema usher contains usher's data; auditors read schema audit. The migrations
-- create the tables. Functions, triggers and views are in ../schema: usher migrate
-- up applies those files after the migrations if they have changed.
--
-- Neither role can log in. The login role of usher serve is a member of
-- usher_service, and auditors' login roles are members of usher_auditor. usher
-- migrate up adds the database's suffix to both names.
CREATE SCHEMA IF NOT EXISTS audit; -- the owner may have created it, empty
GRANT USAGE ON SCHEMA usher TO usher_service; -- created by Migrate, for usher.migrations
GRANT USAGE ON SCHEMA audit TO usher_auditor, usher_service;
GRANT SELECT ON usher.migrations TO usher_service;

-- One row: the hash of the files in ../schema that were applied last, and the
-- objects that they created, so that a later version can drop those it does not
-- have.
CREATE TABLE usher.applied_schema (
    singleton  boolean     PRIMARY KEY DEFAULT true CHECK (singleton),
    sha256     text        NOT NULL,
    objects    text[]      NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT ON usher.applied_schema TO usher_service;

-- One row about this database. usher dev accepts only 'dev' databases, and usher
-- serve only 'production' ones.
CREATE TABLE usher.deployment (
    singleton    boolean     PRIMARY KEY DEFAULT true CHECK (singleton),
    mode         text        NOT NULL CHECK (mode IN ('production', 'dev')),
    session_salt bytea       NOT NULL CHECK (octet_length(session_salt) = 32),
    directory    text        NOT NULL DEFAULT 'usher',
    created_at   timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN usher.deployment.session_salt IS 'Salt of the sid claim, so that the claim reveals nothing about the session token.';
COMMENT ON COLUMN usher.deployment.directory IS 'The directory in use: usher''s own tables, or those of an application, which keep no history.';
GRANT SELECT ON usher.deployment TO usher_service;

-- Work that only one session may do at a time locks its row FOR UPDATE. Every role
-- that can connect can take an advisory lock and so block usher. Only usher's
-- roles can lock these rows.
CREATE TABLE usher.locks (
    name  text    PRIMARY KEY,
    taken boolean NOT NULL DEFAULT true -- FOR UPDATE needs the privilege UPDATE on a column
);
INSERT INTO usher.locks (name)
SELECT unnest('{seals,partitions,templates,signing_keys,api_keys,admin_keys}'::text[])
UNION ALL SELECT 'idempotency_keys_' || n FROM generate_series(0, 31) n;
GRANT SELECT, UPDATE (taken) ON usher.locks TO usher_service;

-- Ids are opaque text, compared byte by byte. The exact limit is 128 UTF-16 code
-- units, which Postgres cannot count easily: usher checks it when it adds an id.
CREATE DOMAIN usher.id AS text COLLATE "C"
    CHECK (VALUE <> '' AND char_length(VALUE) <= 128 AND VALUE !~ '[\u0001-\u001f\u007f-\u009f]');

CREATE TABLE usher.users (
    id          usher.id    PRIMARY KEY,
    info        jsonb       CHECK (jsonb_typeof(info) = 'object'),
    disabled_at timestamptz,
    created_at  timestamptz NOT NULL DEFAULT now(),
    created_by  text        NOT NULL
);
COMMENT ON COLUMN usher.users.info IS 'The ui claim: name, avatar, color and others. No secrets, because a token is only encoded, not encrypted.';

-- usher.users has only the present state. This is its history: who existed and was
-- enabled at any time. Append-only, written by triggers.
CREATE TABLE usher.user_states (
    id      bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id usher.id    NOT NULL,
    state   text        NOT NULL CHECK (state IN ('enabled', 'disabled', 'deleted')),
    since   timestamptz NOT NULL
);
COMMENT ON COLUMN usher.user_states.since IS 'Start of the state. It ends with the next row of the same user.';
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

-- A membership is never deleted, only ended, so the table is also its history.
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
COMMENT ON COLUMN usher.memberships.organization_id IS 'The organization itself, or the group''s organization, which is stored here because the group may be deleted.';
CREATE UNIQUE INDEX memberships_live ON usher.memberships (user_id, member_of_kind, member_of_id) WHERE ended_at IS NULL;
CREATE INDEX memberships_member_of ON usher.memberships (member_of_kind, member_of_id);
CREATE INDEX memberships_user_id ON usher.memberships (user_id, member_of_kind, member_of_id);

-- The time of issue of the newest token that usher accepted from an identity
-- provider for a user. An older token changes nothing, because it could bring back
-- memberships that have ended. The row stays when the user is deleted, for the same
-- reason.
CREATE TABLE usher.provider_tokens (
    user_id   usher.id    NOT NULL,
    issuer    text        NOT NULL,
    issued_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, issuer)
);

-- Only the SHA-256 of the cookie value is stored, so that nobody can sign in with
-- the contents of the table.
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

-- The database sets the times.
GRANT SELECT, INSERT (user_id, member_of_kind, member_of_id, created_by), UPDATE (ended_at, ended_by) ON usher.memberships TO usher_service;
GRANT SELECT, INSERT, UPDATE (issued_at) ON usher.provider_tokens TO usher_service;
GRANT SELECT, INSERT, DELETE ON usher.sessions TO usher_service;
