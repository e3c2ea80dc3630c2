-- Auth.js with database sessions, in the tables that @auth/pg-adapter reads:
-- users and sessions. The adapter's own schema lacks an index. Without it, every
-- look-up would read all sessions:
--
--     CREATE UNIQUE INDEX CONCURRENTLY ON sessions ("sessionToken");
--
-- Ids may have any type. A text that is not a valid id of that type, or another
-- spelling of one ("007"), returns no row.

CREATE OR REPLACE FUNCTION usher.directory_session(token text)
    RETURNS TABLE (user_id text, organization_id text, expires_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 1
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
BEGIN
{{reads}}
    RETURN QUERY
    SELECT {{col "s" "sessions.userId"}}::text, NULL::text, {{time "s" "sessions.expires"}}
      FROM {{table "sessions"}} s
     WHERE {{col "s" "sessions.sessionToken"}} = directory_session.token;
END
$$;

CREATE OR REPLACE FUNCTION usher.directory_user(id text)
    RETURNS TABLE (info jsonb, disabled boolean)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 1
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    wanted {{table "users"}}.{{name "users.id"}}%TYPE;
BEGIN
    wanted := directory_user.id;
    RETURN QUERY
    SELECT jsonb_strip_nulls(jsonb_build_object('name', {{col "u" "users.name"}}, 'avatar', {{col "u" "users.image"}})), false
      FROM {{table "users"}} u
     WHERE {{col "u" "users.id"}} = wanted AND {{col "u" "users.id"}}::text = directory_user.id COLLATE "C";
EXCEPTION WHEN invalid_text_representation OR numeric_value_out_of_range OR string_data_right_truncation THEN
    RETURN;
END
$$;

-- Auth.js has no organizations and no groups.
CREATE OR REPLACE FUNCTION usher.directory_memberships(user_id text)
    RETURNS TABLE (kind text, id text, organization_id text)
LANGUAGE sql STABLE SECURITY DEFINER ROWS 1
SET search_path = pg_catalog, pg_temp AS $$
    SELECT NULL::text, NULL::text, NULL::text WHERE false
$$;

CREATE OR REPLACE VIEW usher.directory_users AS
SELECT {{col "u" "users.id"}}::text COLLATE "C" AS id,
       jsonb_strip_nulls(jsonb_build_object('name', {{col "u" "users.name"}}, 'avatar', {{col "u" "users.image"}})) AS info,
       false AS disabled
  FROM {{table "users"}} u;

CREATE OR REPLACE VIEW usher.directory_members AS
SELECT NULL::text COLLATE "C" AS user_id, NULL::text AS kind, NULL::text COLLATE "C" AS id, NULL::text COLLATE "C" AS organization_id
 WHERE false;
