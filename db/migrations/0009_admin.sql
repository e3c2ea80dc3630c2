-- +goose Up

-- Credentials of the admin API. A key is never changed, only revoked, once.
-- The service may look one up and not add one: who takes it over gains no key
-- that outlives the incident.
CREATE TABLE usher.admin_keys (
    id           text        PRIMARY KEY CHECK (id ~ '^[0-9A-Za-z]{12}$'),
    name         text        NOT NULL CHECK (name <> '' AND char_length(name) <= 128),
    role         text        NOT NULL CHECK (role IN ('admin', 'auditor')),
    secret_hash  bytea       NOT NULL CHECK (octet_length(secret_hash) = 32),
    created_at   timestamptz NOT NULL DEFAULT now(),
    created_by   text        NOT NULL,
    expires_at   timestamptz CHECK (expires_at > created_at),
    revoked_at   timestamptz CHECK (revoked_at >= created_at),
    revoked_by   text,
    last_used_at timestamptz,
    CHECK ((revoked_at IS NULL) = (revoked_by IS NULL))
);
COMMENT ON COLUMN usher.admin_keys.role IS 'admin: everything; auditor: reads everything, changes nothing.';
COMMENT ON COLUMN usher.admin_keys.secret_hash IS 'SHA-256 of the secret part, which has 256 random bits.';
COMMENT ON COLUMN usher.admin_keys.last_used_at IS 'Written at most once a minute.';

CREATE TRIGGER revoke_once BEFORE UPDATE ON usher.admin_keys
    FOR EACH ROW WHEN (OLD.revoked_at IS NOT NULL AND (NEW.revoked_at, NEW.revoked_by) IS DISTINCT FROM (OLD.revoked_at, OLD.revoked_by)
        OR (NEW.id, NEW.name, NEW.role, NEW.secret_hash, NEW.created_at, NEW.created_by, NEW.expires_at)
        IS DISTINCT FROM
           (OLD.id, OLD.name, OLD.role, OLD.secret_hash, OLD.created_at, OLD.created_by, OLD.expires_at))
    EXECUTE FUNCTION usher.only_once();
CREATE TRIGGER keep BEFORE DELETE ON usher.admin_keys
    FOR EACH ROW EXECUTE FUNCTION usher.only_once();
CREATE TRIGGER keep_all BEFORE TRUNCATE ON usher.admin_keys
    FOR EACH STATEMENT EXECUTE FUNCTION usher.only_once();

GRANT SELECT, UPDATE (last_used_at) ON usher.admin_keys TO usher_service;

-- The answers to changes that came under an idempotency key, each written by
-- the transaction that made the change. Kept for a day; they hold no secret.
CREATE TABLE usher.idempotency_keys (
    admin_key_id text        NOT NULL,
    key          text        COLLATE "C" NOT NULL CHECK (key <> '' AND char_length(key) <= 255),
    request_hash bytea       NOT NULL CHECK (octet_length(request_hash) = 32),
    answer       text        NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (admin_key_id, key)
);
COMMENT ON COLUMN usher.idempotency_keys.request_hash IS 'SHA-256 of route and body: the same key with another request is refused.';
CREATE INDEX idempotency_keys_created_at ON usher.idempotency_keys (created_at);

GRANT SELECT, INSERT, DELETE ON usher.idempotency_keys TO usher_service;
