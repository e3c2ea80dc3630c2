-- Auth.js with database sessions, in the tables that @auth/pg-adapter reads:
-- users and sessions. The adapter's own schema lacks one index, without which
-- every look-up would read all sessions:
--
--     CREATE UNIQUE INDEX CONCURRENTLY ON sessions ("sessionToken");
--
-- An id may be of any type: it is read as what the column holds, and a text
-- that is none, or another spelling of one ("007"), is no row.

DO $check$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['users', 'sessions'] LOOP
        IF to_regclass('{schema}.' || wanted) IS NULL THEN
            RAISE undefined_table USING MESSAGE = format('no table %s.%s', trim('"' FROM '{schema}'), wanted),
                HINT = 'start the application once, so that it makes its tables, or name their schema with --schema';
        END IF;
    END LOOP;
END
$check$;

CREATE OR REPLACE FUNCTION usher.directory_session(token text)
    RETURNS TABLE (user_id text, organization_id text, expires_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 1
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
BEGIN
    RETURN QUERY
    SELECT s."userId"::text, NULL::text, s.expires::timestamptz
      FROM {schema}.sessions s
     WHERE s."sessionToken" = directory_session.token;
END
$$;

CREATE OR REPLACE FUNCTION usher.directory_user(id text)
    RETURNS TABLE (info jsonb, disabled boolean)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 1
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    wanted {schema}.users.id%TYPE;
BEGIN
    wanted := directory_user.id;
    RETURN QUERY
    SELECT jsonb_strip_nulls(jsonb_build_object('name', u.name, 'avatar', u.image)), false
      FROM {schema}.users u
     WHERE u.id = wanted AND u.id::text = directory_user.id COLLATE "C";
EXCEPTION WHEN invalid_text_representation OR numeric_value_out_of_range OR string_data_right_truncation THEN
    RETURN;
END
$$;

-- Auth.js knows no organizations and no groups.
CREATE OR REPLACE FUNCTION usher.directory_memberships(user_id text)
    RETURNS TABLE (kind text, id text, organization_id text)
LANGUAGE sql STABLE SECURITY DEFINER ROWS 1
SET search_path = pg_catalog, pg_temp AS $$
    SELECT NULL::text, NULL::text, NULL::text WHERE false
$$;

CREATE OR REPLACE VIEW usher.directory_users AS
SELECT u.id::text COLLATE "C" AS id,
       jsonb_strip_nulls(jsonb_build_object('name', u.name, 'avatar', u.image)) AS info,
       false AS disabled
  FROM {schema}.users u;

CREATE OR REPLACE VIEW usher.directory_members AS
SELECT NULL::text COLLATE "C" AS user_id, NULL::text AS kind, NULL::text COLLATE "C" AS id, NULL::text COLLATE "C" AS organization_id
 WHERE false;
