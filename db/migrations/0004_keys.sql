-- Keys have times instead of states: replicas read the times, so nothing must
-- notify them. The private half is encrypted with AES-256-GCM under a key that is
-- never in the database.
CREATE TABLE usher.signing_keys (
    kid            text        PRIMARY KEY,
    alg            text        NOT NULL CHECK (alg IN ('EdDSA', 'ES256')),
    public_key     bytea       NOT NULL,
    encrypted_key  bytea       NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    published_at   timestamptz NOT NULL,
    signs_from     timestamptz NOT NULL CHECK (signs_from >= published_at),
    signs_until    timestamptz CHECK (signs_until > signs_from),
    unpublished_at timestamptz CHECK (unpublished_at >= signs_until),
    compromised_at timestamptz
);
COMMENT ON COLUMN usher.signing_keys.kid IS 'RFC 7638 thumbprint of the public key.';
COMMENT ON COLUMN usher.signing_keys.public_key IS 'PKIX in DER.';
COMMENT ON COLUMN usher.signing_keys.encrypted_key IS 'PKCS 8 in DER, encrypted with table, kid and alg as additional data.';
GRANT SELECT ON usher.signing_keys TO usher_service;

-- Credentials of other backends. A key is never changed, and revoked at most once.
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
COMMENT ON COLUMN usher.api_keys.organizations IS 'Requests may name only members of these organizations. Null: any user.';
COMMENT ON COLUMN usher.api_keys.patterns IS 'Maximum access that it can give: {"rooms": {pattern: access}, "stores": {...}}.';
COMMENT ON COLUMN usher.api_keys.last_used_at IS 'Updated at most once a minute.';
CREATE INDEX api_keys_name ON usher.api_keys (name);
GRANT SELECT,
      INSERT (id, name, secret_hash, routes, organizations, patterns, expires_at, created_by),
      UPDATE (revoked_at, revoked_by, last_used_at)
   ON usher.api_keys TO usher_service;

-- Credentials of the admin API. A key is never changed, and revoked at most once.
-- The service can look up keys and cannot add any, so an attacker who takes it over
-- gets no key that stays valid after the incident.
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
COMMENT ON COLUMN usher.admin_keys.role IS 'admin: reads and changes everything. auditor: reads everything.';
COMMENT ON COLUMN usher.admin_keys.secret_hash IS 'SHA-256 of the secret part, which has 256 random bits.';
COMMENT ON COLUMN usher.admin_keys.last_used_at IS 'Updated at most once a minute.';
GRANT SELECT, UPDATE (last_used_at) ON usher.admin_keys TO usher_service;

-- Responses to changes with an idempotency key, each written in the transaction of
-- the change. They are kept for a day and contain no secret.
CREATE TABLE usher.idempotency_keys (
    admin_key_id text        NOT NULL,
    key          text        COLLATE "C" NOT NULL CHECK (key <> '' AND char_length(key) <= 255),
    request_hash bytea       NOT NULL CHECK (octet_length(request_hash) = 32),
    answer       text        NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (admin_key_id, key)
);
COMMENT ON COLUMN usher.idempotency_keys.request_hash IS 'SHA-256 of route and body. The same key with a different request is refused.';
CREATE INDEX idempotency_keys_created_at ON usher.idempotency_keys (created_at);
GRANT SELECT, INSERT, DELETE ON usher.idempotency_keys TO usher_service;
