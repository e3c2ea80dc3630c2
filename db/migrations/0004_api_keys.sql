-- +goose Up

-- Credentials of other backends. A key is never changed, only revoked, once.
CREATE TABLE usher.api_keys (
    id            text        PRIMARY KEY CHECK (id ~ '^[0-9A-Za-z]{12}$'),
    name          text        NOT NULL CHECK (name <> '' AND char_length(name) <= 128),
    secret_hash   bytea       NOT NULL CHECK (octet_length(secret_hash) = 32),
    routes        text[]      NOT NULL CHECK (cardinality(routes) > 0 AND routes <@ ARRAY['auth', 'authorize-user', 'identify-user']),
    organizations text[]      CHECK (cardinality(organizations) > 0),
    patterns      jsonb       NOT NULL CHECK (jsonb_typeof(patterns) = 'object'),
    created_at    timestamptz NOT NULL DEFAULT now(),
    created_by    text        NOT NULL,
    expires_at    timestamptz CHECK (expires_at > created_at),
    revoked_at    timestamptz CHECK (revoked_at >= created_at),
    revoked_by    text,
    last_used_at  timestamptz,
    CHECK ((revoked_at IS NULL) = (revoked_by IS NULL))
);
COMMENT ON COLUMN usher.api_keys.secret_hash IS 'SHA-256 of the secret part, which has 256 random bits.';
COMMENT ON COLUMN usher.api_keys.organizations IS 'The key speaks for members of these alone; null: for everybody.';
COMMENT ON COLUMN usher.api_keys.patterns IS 'The most it may grant: {"rooms": {pattern: access}, "stores": {...}}.';
COMMENT ON COLUMN usher.api_keys.last_used_at IS 'Written at most once a minute.';
CREATE INDEX api_keys_name ON usher.api_keys (name);

CREATE TRIGGER revoke_once BEFORE UPDATE ON usher.api_keys
    FOR EACH ROW WHEN (OLD.revoked_at IS NOT NULL AND (NEW.revoked_at, NEW.revoked_by) IS DISTINCT FROM (OLD.revoked_at, OLD.revoked_by)
        OR (NEW.id, NEW.name, NEW.secret_hash, NEW.routes, NEW.organizations, NEW.patterns, NEW.created_at, NEW.created_by, NEW.expires_at)
        IS DISTINCT FROM
           (OLD.id, OLD.name, OLD.secret_hash, OLD.routes, OLD.organizations, OLD.patterns, OLD.created_at, OLD.created_by, OLD.expires_at))
    EXECUTE FUNCTION usher.only_once();
CREATE TRIGGER stamp_new BEFORE INSERT ON usher.api_keys
    FOR EACH ROW EXECUTE FUNCTION usher.stamp_revocable();
CREATE TRIGGER stamp_revoked BEFORE UPDATE ON usher.api_keys
    FOR EACH ROW WHEN (OLD.revoked_at IS NULL) EXECUTE FUNCTION usher.stamp_revocable();
CREATE TRIGGER keep BEFORE DELETE ON usher.api_keys
    FOR EACH ROW EXECUTE FUNCTION usher.only_once();
CREATE TRIGGER keep_all BEFORE TRUNCATE ON usher.api_keys
    FOR EACH STATEMENT EXECUTE FUNCTION usher.only_once();

GRANT SELECT,
      INSERT (id, name, secret_hash, routes, organizations, patterns, expires_at, created_by),
      UPDATE (revoked_at, revoked_by, last_used_at)
   ON usher.api_keys TO usher_service;
