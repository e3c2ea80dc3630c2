-- Who migrates: owns the database, may make roles, and is no superuser.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'usher_owner') THEN
        CREATE ROLE usher_owner LOGIN CREATEROLE PASSWORD 'usher';
    END IF;
END
$$;
