-- Creates the two roles that usher's schema uses, if the owner of usher's database
-- may not create roles. Run it once per server, as a role with CREATEROLE. Then run
-- usher migrate up as the owner.
--
-- Neither role can log in. Make the login role of usher serve a member of the
-- first, and auditors' login roles members of the second:
--
--   CREATE ROLE usher LOGIN PASSWORD '...' IN ROLE usher_service;
--   CREATE ROLE reports LOGIN PASSWORD '...' IN ROLE usher_auditor;
DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['usher_service', 'usher_auditor'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
        END IF;
    END LOOP;
END
$$;
