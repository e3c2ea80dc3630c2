CREATE OR REPLACE TRIGGER keep BEFORE UPDATE OR DELETE ON usher.changes
    FOR EACH ROW EXECUTE FUNCTION usher.only_once();
CREATE OR REPLACE TRIGGER keep_all BEFORE TRUNCATE ON usher.changes
    FOR EACH STATEMENT EXECUTE FUNCTION usher.only_once();

CREATE OR REPLACE VIEW audit.changes AS
SELECT id, changed_at, actor, action, target, details::jsonb AS details
  FROM usher.changes;
COMMENT ON VIEW audit.changes IS 'Every change to users, organizations, groups, members, grants, sessions and keys, with who made it.';
COMMENT ON COLUMN audit.changes.changed_at IS 'By the database''s clock, within the transaction that made the change.';
COMMENT ON COLUMN audit.changes.actor IS 'Who: cli:user@host, the name of an admin key, an identity provider.';
COMMENT ON COLUMN audit.changes.action IS 'What was done to what, for example grant.add, user.disable, api_key.revoke.';
COMMENT ON COLUMN audit.changes.target IS 'The id of what was changed.';
COMMENT ON COLUMN audit.changes.details IS 'The object as it was made, or what went with it.';
COMMENT ON COLUMN audit.changes.id IS 'Counts up.';
