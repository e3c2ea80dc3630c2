-- +goose Up

-- A grant is never changed or deleted, only revoked, once: its history is the
-- table. It holds from the later of valid_from and created_at.
CREATE TABLE usher.grants (
    id              bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subject_kind    text        NOT NULL CHECK (subject_kind IN ('user', 'group', 'organization', 'everyone')),
    subject_id      text        COLLATE "C" NOT NULL CHECK (char_length(subject_id) <= 128),
    organization_id usher.id,
    resource_kind   text        NOT NULL CHECK (resource_kind IN ('room', 'store')),
    pattern         text        COLLATE "C" NOT NULL CHECK (pattern <> '' AND char_length(pattern) <= 256),
    template_shape  text        COLLATE "C" NOT NULL
        GENERATED ALWAYS AS (regexp_replace(pattern, '\{(user|organization|group)\}', '{}', 'g')) STORED,
    access          text        NOT NULL CHECK (access IN ('read', 'full')),
    valid_from      timestamptz NOT NULL DEFAULT now(),
    valid_until     timestamptz CHECK (valid_until > valid_from),
    reason          text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    created_by      text        NOT NULL,
    revoked_at      timestamptz CHECK (revoked_at >= created_at),
    revoked_by      text,
    revoke_reason   text,
    CHECK ((subject_kind = 'everyone') = (subject_id = '')),
    CHECK ((revoked_at IS NULL) = (revoked_by IS NULL))
);
COMMENT ON COLUMN usher.grants.subject_id IS 'Empty for everyone.';
COMMENT ON COLUMN usher.grants.organization_id IS 'Confines the grant to sessions of this organization; null: every session.';
COMMENT ON COLUMN usher.grants.pattern IS 'An id, a prefix and *, or *; may hold {user}, {organization}, {group}.';

-- The same grant twice would outlive its revocation.
CREATE UNIQUE INDEX grants_live
    ON usher.grants (subject_kind, subject_id, resource_kind, pattern, access, organization_id) NULLS NOT DISTINCT
    WHERE revoked_at IS NULL AND valid_until IS NULL;
-- The look-up of every token.
CREATE INDEX grants_subject ON usher.grants (subject_kind, subject_id) WHERE revoked_at IS NULL;
-- The audit: grants that are over, by subject; all, by pattern, which whoever
-- asks about an id looks up for each of its prefixes; and the templates, by the
-- literal that they begin with.
CREATE INDEX grants_revoked ON usher.grants (subject_kind, subject_id) WHERE revoked_at IS NOT NULL;
CREATE INDEX grants_pattern ON usher.grants (resource_kind, pattern, subject_kind, subject_id);
CREATE INDEX grants_template_head ON usher.grants (resource_kind, split_part(pattern, '{', 1), pattern) WHERE pattern <> template_shape;
-- New templates are compared with these.
CREATE INDEX grants_template ON usher.grants (resource_kind, template_shape) WHERE revoked_at IS NULL AND pattern <> template_shape;

CREATE TRIGGER revoke_once BEFORE UPDATE ON usher.grants
    FOR EACH ROW WHEN (OLD.revoked_at IS NOT NULL
        OR (NEW.id, NEW.subject_kind, NEW.subject_id, NEW.organization_id, NEW.resource_kind, NEW.pattern, NEW.access,
            NEW.valid_from, NEW.valid_until, NEW.reason, NEW.created_at, NEW.created_by)
        IS DISTINCT FROM
           (OLD.id, OLD.subject_kind, OLD.subject_id, OLD.organization_id, OLD.resource_kind, OLD.pattern, OLD.access,
            OLD.valid_from, OLD.valid_until, OLD.reason, OLD.created_at, OLD.created_by))
    EXECUTE FUNCTION usher.only_once();
CREATE TRIGGER keep BEFORE DELETE ON usher.grants
    FOR EACH ROW EXECUTE FUNCTION usher.only_once();
CREATE TRIGGER keep_all BEFORE TRUNCATE ON usher.grants
    FOR EACH STATEMENT EXECUTE FUNCTION usher.only_once();

-- What says when, the database says: see stamp_user. Of grants and API keys.
-- +goose StatementBegin
CREATE FUNCTION usher.stamp_revocable() RETURNS trigger
LANGUAGE plpgsql AS $$
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
-- +goose StatementEnd
CREATE TRIGGER stamp BEFORE INSERT OR UPDATE ON usher.grants
    FOR EACH ROW EXECUTE FUNCTION usher.stamp_revocable();

-- Two live templates that differ only in the placeholder would let a user who
-- calls himself like an organization into its rooms.
-- +goose StatementBegin
CREATE FUNCTION usher.check_template() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    other usher.grants;
BEGIN
    -- Of two that come at the same time, the second waits and sees the first.
    PERFORM pg_advisory_xact_lock(hashtextextended('usher.grants.template ' || NEW.template_shape, 0));
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
            MESSAGE = format('the pattern differs from grant %s (%s) in its placeholder alone', other.id, other.pattern);
    END IF;
    RETURN NEW;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER check_template AFTER INSERT ON usher.grants
    FOR EACH ROW WHEN (NEW.pattern <> NEW.template_shape) EXECUTE FUNCTION usher.check_template();

-- What is deleted takes its grants and memberships along, so that a reused id
-- inherits nothing.
-- +goose StatementBegin
CREATE FUNCTION usher.revoke_of_deleted() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    kind  text := TG_ARGV[0];
    actor text := coalesce(nullif(current_setting('usher.actor', true), ''), current_user);
BEGIN
    -- A row can be younger than this transaction, hence greatest().
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
-- +goose StatementEnd
CREATE TRIGGER revoke_of_deleted BEFORE DELETE ON usher.users
    FOR EACH ROW EXECUTE FUNCTION usher.revoke_of_deleted('user');
CREATE TRIGGER revoke_of_deleted BEFORE DELETE ON usher.organizations
    FOR EACH ROW EXECUTE FUNCTION usher.revoke_of_deleted('organization');
CREATE TRIGGER revoke_of_deleted BEFORE DELETE ON usher.groups
    FOR EACH ROW EXECUTE FUNCTION usher.revoke_of_deleted('group');

-- Keys have times, not states: replicas read the times, so none needs a
-- message. The private half is sealed (AES-256-GCM under a key that the
-- database never sees).
CREATE TABLE usher.signing_keys (
    kid            text        PRIMARY KEY,
    alg            text        NOT NULL CHECK (alg IN ('EdDSA', 'ES256')),
    public_key     bytea       NOT NULL,
    sealed_key     bytea       NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    published_at   timestamptz NOT NULL,
    signs_from     timestamptz NOT NULL CHECK (signs_from >= published_at),
    signs_until    timestamptz CHECK (signs_until > signs_from),
    unpublished_at timestamptz CHECK (unpublished_at >= signs_until),
    compromised_at timestamptz
);
COMMENT ON COLUMN usher.signing_keys.kid IS 'RFC 7638 thumbprint of the public key.';
COMMENT ON COLUMN usher.signing_keys.public_key IS 'PKIX, DER.';
COMMENT ON COLUMN usher.signing_keys.sealed_key IS 'PKCS 8, DER, sealed with table, kid and alg as additional data.';

GRANT SELECT,
      INSERT (subject_kind, subject_id, organization_id, resource_kind, pattern, access, valid_from, valid_until, reason, created_by),
      UPDATE (revoked_at, revoked_by, revoke_reason)
   ON usher.grants TO usher_service;
GRANT SELECT ON usher.signing_keys TO usher_service;
