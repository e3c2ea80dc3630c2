-- People and programs, as an operator makes them for the two groups that the
-- migrations know.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'usher_test_service') THEN
        CREATE ROLE usher_test_service LOGIN PASSWORD 'usher' IN ROLE usher_service;
        CREATE ROLE usher_test_auditor LOGIN PASSWORD 'usher' IN ROLE usher_auditor;
    END IF;
END
$$;
