-- An API key is never changed, and revoked at most once.
CREATE OR REPLACE TRIGGER revoke_once BEFORE UPDATE ON usher.api_keys
    FOR EACH ROW WHEN (OLD.revoked_at IS NOT NULL AND (NEW.revoked_at, NEW.revoked_by) IS DISTINCT FROM (OLD.revoked_at, OLD.revoked_by)
        OR (NEW.id, NEW.name, NEW.secret_hash, NEW.routes, NEW.organizations, NEW.patterns, NEW.created_at, NEW.created_by, NEW.expires_at)
        IS DISTINCT FROM
           (OLD.id, OLD.name, OLD.secret_hash, OLD.routes, OLD.organizations, OLD.patterns, OLD.created_at, OLD.created_by, OLD.expires_at))
    EXECUTE FUNCTION usher.only_once();
CREATE OR REPLACE TRIGGER stamp_new BEFORE INSERT ON usher.api_keys
    FOR EACH ROW EXECUTE FUNCTION usher.stamp_revocable();
CREATE OR REPLACE TRIGGER stamp_revoked BEFORE UPDATE ON usher.api_keys
    FOR EACH ROW WHEN (OLD.revoked_at IS NULL) EXECUTE FUNCTION usher.stamp_revocable();
CREATE OR REPLACE TRIGGER keep BEFORE DELETE ON usher.api_keys
    FOR EACH ROW EXECUTE FUNCTION usher.only_once();
CREATE OR REPLACE TRIGGER keep_all BEFORE TRUNCATE ON usher.api_keys
    FOR EACH STATEMENT EXECUTE FUNCTION usher.only_once();

-- Admin keys.
CREATE OR REPLACE TRIGGER revoke_once BEFORE UPDATE ON usher.admin_keys
    FOR EACH ROW WHEN (OLD.revoked_at IS NOT NULL AND (NEW.revoked_at, NEW.revoked_by) IS DISTINCT FROM (OLD.revoked_at, OLD.revoked_by)
        OR (NEW.id, NEW.name, NEW.role, NEW.secret_hash, NEW.created_at, NEW.created_by, NEW.expires_at)
        IS DISTINCT FROM
           (OLD.id, OLD.name, OLD.role, OLD.secret_hash, OLD.created_at, OLD.created_by, OLD.expires_at))
    EXECUTE FUNCTION usher.only_once();
CREATE OR REPLACE TRIGGER keep BEFORE DELETE ON usher.admin_keys
    FOR EACH ROW EXECUTE FUNCTION usher.only_once();
CREATE OR REPLACE TRIGGER keep_all BEFORE TRUNCATE ON usher.admin_keys
    FOR EACH STATEMENT EXECUTE FUNCTION usher.only_once();
