-- One row per issued token and per denial, committed before the response is sent.
-- Append-only: usher's role can only insert and select, and triggers on every
-- partition protect against mistakes of the owner.
CREATE TABLE usher.decisions (
    id              bigint      GENERATED ALWAYS AS IDENTITY,
    issued_at       timestamptz NOT NULL,
    recorded_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    result          text        NOT NULL CHECK (result IN ('issued', 'denied')),
    reason          text,
    caller_kind     text        NOT NULL CHECK (caller_kind IN ('none', 'session', 'provider', 'proxy', 'api_key', 'admin_key', 'operator')),
    caller_id       text,
    user_id         text        COLLATE "C",
    organization_id text        COLLATE "C",
    requested_organization_id text COLLATE "C",
    audience        text,
    room            text        COLLATE "C",
    store           text        COLLATE "C",
    token_kind      text        CHECK (token_kind IN ('access', 'identity')),
    patterns        jsonb,
    claims          json,
    partial         boolean     NOT NULL DEFAULT false,
    skipped_grants  bigint[],
    warnings        text[],
    jti             text        COLLATE "C",
    kid             text,
    expires_at      timestamptz,
    ip              inet,
    user_agent      text,
    origin          text,
    request_id      text        NOT NULL,
    replica         text        NOT NULL,
    count           bigint      NOT NULL DEFAULT 1 CHECK (count > 0),
    salt            bytea       CHECK (octet_length(salt) = 16),
    personal_digest bytea       NOT NULL CHECK (octet_length(personal_digest) = 32),
    digest          bytea       NOT NULL CHECK (octet_length(digest) = 32),
    PRIMARY KEY (issued_at, id),
    CHECK (result <> 'issued' OR num_nulls(user_id, audience, token_kind, patterns, jti, kid, expires_at) = 0 AND count = 1),
    CHECK (result <> 'denied' OR reason IS NOT NULL AND jti IS NULL),
    CHECK (salt IS NOT NULL OR num_nonnulls(ip, user_agent, origin) = 0),
    -- usher sets issued_at and the database recorded_at, so no row can be backdated.
    CONSTRAINT decisions_times CHECK (issued_at BETWEEN recorded_at - interval '1 minute' AND recorded_at + interval '1 minute')
) PARTITION BY RANGE (issued_at);
COMMENT ON COLUMN usher.decisions.claims IS 'json instead of jsonb, because the digest covers the text exactly as it was signed.';
COMMENT ON COLUMN usher.decisions.salt IS 'Random. Null if ip, user_agent and origin were erased (usher audit forget).';
COMMENT ON COLUMN usher.decisions.personal_digest IS 'SHA-256 of salt, ip, user_agent and origin. It stays when these are erased.';
COMMENT ON COLUMN usher.decisions.digest IS 'SHA-256 of the row, computed by usher. The sealer adds id and recorded_at.';
CREATE INDEX decisions_jti ON usher.decisions (jti) WHERE jti IS NOT NULL;
CREATE INDEX decisions_user_id ON usher.decisions (user_id, issued_at);
CREATE INDEX decisions_id ON usher.decisions (id); -- rows are sealed and verified in this order
GRANT SELECT,
      INSERT (issued_at, result, reason, caller_kind, caller_id, user_id, organization_id, requested_organization_id, audience, room, store,
              token_kind, patterns, claims, partial, skipped_grants, warnings, jti, kid, expires_at, ip, user_agent, origin, request_id, replica, count, salt, personal_digest, digest) -- not recorded_at
   ON usher.decisions TO usher_service;

CREATE TABLE usher.decisions_default PARTITION OF usher.decisions DEFAULT;

-- Every change by an operator, an administrator or usher itself, written in the
-- transaction of the change. Append-only, like usher.decisions.
CREATE TABLE usher.changes (
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor      text        NOT NULL CHECK (actor <> ''),
    action     text        NOT NULL CHECK (action ~ '^[a-z_]+\.[a-z_]+$'),
    target     text        COLLATE "C" NOT NULL,
    details    json        CHECK (details IS NULL OR details::jsonb IS NOT NULL),
    digest     bytea       NOT NULL CHECK (octet_length(digest) = 32)
);
COMMENT ON COLUMN usher.changes.details IS 'json instead of jsonb, because the digest covers the text exactly as it was written.';
COMMENT ON COLUMN usher.changes.digest IS 'SHA-256 of actor, action, target and details, computed by usher. The sealer adds id and changed_at.';
CREATE INDEX changes_target ON usher.changes (action, target);
CREATE INDEX changes_changed_at ON usher.changes (changed_at);
GRANT SELECT, INSERT (actor, action, target, details, digest) ON usher.changes TO usher_service;

-- The audit's evidence. A sealer orders the rows of usher.decisions and
-- usher.changes, appends them as leaves to one RFC 6962 Merkle tree, and signs
-- a checkpoint over the whole tree. Nobody who changes a row afterwards, not even a
-- superuser, can make a tree that fits the checkpoints.

-- The audit's own keys, in the formats of golang.org/x/mod/sumdb/note. The newest
-- one signs.
CREATE TABLE usher.checkpoint_keys (
    name          text        PRIMARY KEY CHECK (name ~ '^[^ +]+$'),
    public_key    text        NOT NULL,
    encrypted_key bytea       NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON COLUMN usher.checkpoint_keys.name IS 'Name of the key, and first line of its checkpoints, which identifies the tree.';
COMMENT ON COLUMN usher.checkpoint_keys.public_key IS 'In the format of note.NewVerifier.';
COMMENT ON COLUMN usher.checkpoint_keys.encrypted_key IS 'In the format of note.NewSigner, encrypted with table and name as additional data.';
GRANT SELECT ON usher.checkpoint_keys TO usher_service;

-- One row per seal: the leaves that it appended, and the checkpoint over all leaves
-- so far. If two sealers start at the same leaf, only one can commit.
CREATE TABLE usher.seals (
    first_leaf        bigint      PRIMARY KEY CHECK (first_leaf >= 0),
    tree_size         bigint      NOT NULL,
    sealed_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    decisions_through bigint      NOT NULL,
    changes_through   bigint      NOT NULL,
    decision_ids      bigint[]    NOT NULL,
    change_ids        bigint[]    NOT NULL,
    first_hash        bigint      NOT NULL UNIQUE,
    hashes            bytea       NOT NULL,
    checkpoint        text        NOT NULL,
    CHECK (tree_size > first_leaf AND tree_size = first_leaf + cardinality(decision_ids) + cardinality(change_ids)),
    CHECK (octet_length(hashes) % 32 = 0)
);

-- Hashes cannot be compressed, and only a few are read at a time.
ALTER TABLE usher.seals ALTER hashes SET STORAGE EXTERNAL;
CREATE INDEX seals_decisions_through ON usher.seals (decisions_through);
GRANT SELECT,
      INSERT (first_leaf, tree_size, decisions_through, changes_through, decision_ids, change_ids, first_hash, hashes, checkpoint)
   ON usher.seals TO usher_service;
GRANT SELECT ON SEQUENCE usher.decisions_id_seq, usher.changes_id_seq TO usher_service;
