-- The role for migrations. It owns the database, may create roles, and is not a
-- superuser.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'usher_owner') THEN
        CREATE ROLE usher_owner LOGIN CREATEROLE PASSWORD 'hunter2';
    END IF;
END
$$;
