-- Better Auth in the tables that its CLI makes: user and session; member with
-- the organization plugin; team and "teamMember" with its teams, which are
-- usher's groups. Whom the admin plugin has banned is disabled. After adding a
-- plugin, use this directory again.
--
-- An id may be of any type: it is read as what the column holds, and a text
-- that is none, or another spelling of one ("007"), is no row.

CREATE OR REPLACE FUNCTION usher.directory_session(token text)
    RETURNS TABLE (user_id text, organization_id text, expires_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 1
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
BEGIN
    RETURN QUERY
    SELECT s."userId"::text, to_jsonb(s) ->> 'activeOrganizationId', s."expiresAt"::timestamptz
      FROM {schema}.session s
     WHERE s.token = directory_session.token;
END
$$;

-- Columns of plugins are read by way of JSON, where one that is absent is null.
CREATE OR REPLACE FUNCTION usher.directory_user(id text)
    RETURNS TABLE (info jsonb, disabled boolean)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 1
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    wanted {schema}."user".id%TYPE;
BEGIN
    wanted := directory_user.id;
    RETURN QUERY
    SELECT jsonb_strip_nulls(jsonb_build_object('name', u.name, 'avatar', u.image)),
           coalesce((to_jsonb(u) ->> 'banned')::boolean, false)
           AND coalesce((to_jsonb(u) ->> 'banExpires')::timestamptz > now(), true)
      FROM {schema}."user" u
     WHERE u.id = wanted AND u.id::text = directory_user.id COLLATE "C";
EXCEPTION WHEN invalid_text_representation OR numeric_value_out_of_range OR string_data_right_truncation THEN
    RETURN;
END
$$;

CREATE OR REPLACE VIEW usher.directory_users AS
SELECT u.id::text COLLATE "C" AS id,
       jsonb_strip_nulls(jsonb_build_object('name', u.name, 'avatar', u.image)) AS info,
       coalesce((to_jsonb(u) ->> 'banned')::boolean, false)
       AND coalesce((to_jsonb(u) ->> 'banExpires')::timestamptz > now(), true) AS disabled
  FROM {schema}."user" u;

DO $preset$
DECLARE
    memberships text := $sql$
        SELECT u.id AS user_id, NULL::text AS kind, u.id, u.id AS organization_id
          FROM {schema}."user" u
         WHERE false
    $sql$;
BEGIN
    IF to_regclass('{schema}.member') IS NOT NULL THEN
        memberships := $sql$
        SELECT m."userId" AS user_id, 'organization' AS kind, m."organizationId" AS id, m."organizationId" AS organization_id
          FROM {schema}.member m
        $sql$;
    END IF;
    -- A team counts while its organization does.
    IF to_regclass('{schema}."teamMember"') IS NOT NULL THEN
        memberships := memberships || $sql$
        UNION ALL
        SELECT tm."userId", 'group', tm."teamId", t."organizationId"
          FROM {schema}."teamMember" tm
          JOIN {schema}.team t ON t.id = tm."teamId"
          JOIN {schema}.member m ON m."userId" = tm."userId" AND m."organizationId" = t."organizationId"
        $sql$;
    END IF;
    EXECUTE format($sql$
CREATE OR REPLACE FUNCTION usher.directory_memberships(user_id text)
    RETURNS TABLE (kind text, id text, organization_id text)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 10
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    wanted {schema}."user".id%%TYPE;
BEGIN
    wanted := directory_memberships.user_id;
    RETURN QUERY
    SELECT m.kind, m.id::text, m.organization_id::text
      FROM (%1$s) m
     WHERE m.user_id = wanted AND m.user_id::text = directory_memberships.user_id COLLATE "C";
EXCEPTION WHEN invalid_text_representation OR numeric_value_out_of_range OR string_data_right_truncation THEN
    RETURN;
END
$$
    $sql$, memberships);
    EXECUTE format($sql$
CREATE OR REPLACE VIEW usher.directory_members AS
SELECT m.user_id::text COLLATE "C" AS user_id, m.kind, m.id::text COLLATE "C" AS id, m.organization_id::text COLLATE "C" AS organization_id
  FROM (%1$s) m
    $sql$, memberships);
END
$preset$;
