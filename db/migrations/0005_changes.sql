-- +goose Up

-- Every change that an operator, an administrator or usher itself made, in the
-- transaction that made it. Append-only, as the decisions are.
CREATE TABLE usher.changes (
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor      text        NOT NULL CHECK (actor <> ''),
    action     text        NOT NULL CHECK (action ~ '^[a-z_]+\.[a-z_]+$'),
    target     text        COLLATE "C" NOT NULL,
    details    json        CHECK (details IS NULL OR details::jsonb IS NOT NULL),
    digest     bytea       NOT NULL CHECK (octet_length(digest) = 32)
);
COMMENT ON COLUMN usher.changes.details IS 'json, not jsonb: the digest covers the text as it was written.';
COMMENT ON COLUMN usher.changes.digest IS 'SHA-256 over actor, action, target and details, made by usher; the sealer adds id and changed_at (0008).';
CREATE INDEX changes_target ON usher.changes (action, target);
CREATE INDEX changes_changed_at ON usher.changes (changed_at);

CREATE TRIGGER keep BEFORE UPDATE OR DELETE ON usher.changes
    FOR EACH ROW EXECUTE FUNCTION usher.only_once();
CREATE TRIGGER keep_all BEFORE TRUNCATE ON usher.changes
    FOR EACH STATEMENT EXECUTE FUNCTION usher.only_once();

GRANT SELECT, INSERT (actor, action, target, details, digest) ON usher.changes TO usher_service;

CREATE VIEW audit.changes AS
SELECT id, changed_at, actor, action, target, details::jsonb AS details
  FROM usher.changes;
COMMENT ON VIEW audit.changes IS 'Every change to users, organizations, groups, members, grants, sessions and keys, with who made it.';
COMMENT ON COLUMN audit.changes.changed_at IS 'By the database''s clock, within the transaction that made the change.';
COMMENT ON COLUMN audit.changes.actor IS 'Who: cli:user@host, the name of an admin key, an identity provider.';
COMMENT ON COLUMN audit.changes.action IS 'What was done to what, for example grant.add, user.disable, api_key.revoke.';
COMMENT ON COLUMN audit.changes.target IS 'The id of what was changed.';
COMMENT ON COLUMN audit.changes.details IS 'The object as it was made, or what went with it.';
GRANT SELECT ON audit.changes TO usher_auditor, usher_service;
