-- Login roles, as an operator creates them, in the two group roles that the
-- migrations create.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'usher_test_service') THEN
        CREATE ROLE usher_test_service LOGIN PASSWORD 'hunter2' IN ROLE usher_service_test;
        CREATE ROLE usher_test_auditor LOGIN PASSWORD 'hunter2' IN ROLE usher_auditor_test;
    END IF;
END
$$;
