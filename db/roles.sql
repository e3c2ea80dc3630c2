-- The two roles that usher's schema knows, for a server on which the owner of
-- usher's database may not create roles. Run it as somebody who may, once for
-- the server, and then usher migrate up as the owner.
--
-- Neither can log in. Whoever runs usher serve is a member of the first, and
-- auditors are of the second:
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
