CREATE OR REPLACE TRIGGER keep BEFORE UPDATE OR DELETE ON usher.changes
    FOR EACH ROW EXECUTE FUNCTION usher.only_once();
CREATE OR REPLACE TRIGGER keep_all BEFORE TRUNCATE ON usher.changes
    FOR EACH STATEMENT EXECUTE FUNCTION usher.only_once();

CREATE OR REPLACE VIEW audit.changes AS
SELECT id, changed_at, actor, action, target, details::jsonb AS details
  FROM usher.changes;
COMMENT ON VIEW audit.changes IS 'Every change to users, organizations, groups, members, grants, sessions and keys, and who made it.';
COMMENT ON COLUMN audit.changes.changed_at IS 'Time of the change by the database''s clock, within its transaction.';
COMMENT ON COLUMN audit.changes.actor IS 'Who made the change: cli:user@host, the name of an admin key, or an identity provider.';
COMMENT ON COLUMN audit.changes.action IS 'Kind of object and kind of change, for example grant.add, user.disable, api_key.revoke.';
COMMENT ON COLUMN audit.changes.target IS 'Id of the changed object.';
COMMENT ON COLUMN audit.changes.details IS 'The created object, or details of the change, such as what was deleted with it.';
COMMENT ON COLUMN audit.changes.id IS 'Ascending.';
