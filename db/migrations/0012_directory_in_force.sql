-- +goose Up

-- Once `usher directory use` has pointed the directory at an application's
-- tables, what usher's own hold says nothing: who writes there would believe
-- otherwise, and a deletion would revoke the grants of the application's user.
-- +goose StatementBegin
CREATE FUNCTION usher.check_own_directory() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    in_force text := (SELECT directory FROM usher.deployment);
BEGIN
    IF in_force <> 'usher' THEN
        RAISE check_violation USING
            CONSTRAINT = 'own_directory',
            MESSAGE = format('the directory is %s: users, organizations, groups, members and sessions are changed there', in_force);
    END IF;
    RETURN NULL;
END
$$;
-- +goose StatementEnd

CREATE TRIGGER own_directory BEFORE INSERT OR UPDATE OR DELETE ON usher.users
    FOR EACH STATEMENT EXECUTE FUNCTION usher.check_own_directory();
CREATE TRIGGER own_directory BEFORE INSERT OR UPDATE OR DELETE ON usher.organizations
    FOR EACH STATEMENT EXECUTE FUNCTION usher.check_own_directory();
CREATE TRIGGER own_directory BEFORE INSERT OR UPDATE OR DELETE ON usher.groups
    FOR EACH STATEMENT EXECUTE FUNCTION usher.check_own_directory();
CREATE TRIGGER own_directory BEFORE INSERT OR UPDATE OR DELETE ON usher.memberships
    FOR EACH STATEMENT EXECUTE FUNCTION usher.check_own_directory();
CREATE TRIGGER own_directory BEFORE INSERT OR UPDATE OR DELETE ON usher.sessions
    FOR EACH STATEMENT EXECUTE FUNCTION usher.check_own_directory();

-- Whether anybody is in an organization or a group: what tells a mistyped one
-- where the application keeps them.
GRANT SELECT ON usher.directory_members TO usher_service;
