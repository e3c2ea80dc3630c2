-- Better Auth in the tables that its CLI makes: user and session; member with
-- the organization plugin; team and "teamMember" with its teams, which are
-- usher's groups. A user that the admin plugin has banned is disabled. After adding a
-- plugin, use this directory again.
--
-- An id may be of any type: it is read as what the column holds, and a text
-- that is none, or another spelling of one ("007"), is no row.

DO $check$
DECLARE
    session_columns text[];
    user_columns    text[];
    has_members     boolean := to_regclass('{schema}.member') IS NOT NULL;
    has_active      boolean;
    wanted          text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['"user"', 'session'] LOOP
        IF to_regclass('{schema}.' || wanted) IS NULL THEN
            RAISE undefined_table USING MESSAGE = format('no table %s.%s', trim('"' FROM '{schema}'), trim('"' FROM wanted)),
                HINT = 'start the application once, so that it makes its tables, or name their schema with --schema';
        END IF;
    END LOOP;
    session_columns := ARRAY(SELECT attname FROM pg_attribute WHERE attrelid = to_regclass('{schema}.session') AND attnum > 0 AND NOT attisdropped);
    user_columns := ARRAY(SELECT attname FROM pg_attribute WHERE attrelid = to_regclass('{schema}."user"') AND attnum > 0 AND NOT attisdropped);
    has_active := session_columns && '{activeOrganizationId,active_organization_id}';
    IF has_members AND NOT has_active THEN
        RAISE undefined_column USING MESSAGE = 'table member is there, and table session has no column activeOrganizationId: sessions would not be confined to their organization',
            HINT = 'if the column has another name, write the directory as a file of SQL: usher directory show better-auth prints one to begin with';
    ELSIF has_active AND NOT has_members THEN
        RAISE undefined_table USING MESSAGE = 'table session has a column for the active organization, and there is no table member: nobody would be in an organization',
            HINT = 'if the table has another name, write the directory as a file of SQL: usher directory show better-auth prints one to begin with';
    ELSIF NOT 'banned' = ANY (user_columns) AND EXISTS (SELECT FROM unnest(user_columns) c WHERE c ~* 'ban(ned|_|[A-Z]|$)') THEN
        RAISE undefined_column USING MESSAGE = 'table user has columns of bans and none is named banned: a banned user would get tokens',
            HINT = 'if the column has another name, write the directory as a file of SQL: usher directory show better-auth prints one to begin with';
    END IF;
END
$check$;

CREATE OR REPLACE FUNCTION usher.directory_session(token text)
    RETURNS TABLE (user_id text, organization_id text, expires_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 1
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
BEGIN
    RETURN QUERY
    SELECT s."userId"::text, coalesce(to_jsonb(s) ->> 'activeOrganizationId', to_jsonb(s) ->> 'active_organization_id'), s."expiresAt"::timestamptz
      FROM {schema}.session s
     WHERE s.token = directory_session.token;
END
$$;

-- Columns of plugins are read by way of JSON, where one that is absent is null.
-- A time without a zone is in UTC, whatever the time zone of who asks.
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
           AND coalesce(CASE WHEN b.until ~ 'T.*(Z|[+-]\d\d(:?\d\d)?)$' THEN b.until::timestamptz ELSE b.until::timestamp AT TIME ZONE 'UTC' END > now(), true)
      FROM {schema}."user" u
     CROSS JOIN LATERAL (SELECT coalesce(to_jsonb(u) ->> 'banExpires', to_jsonb(u) ->> 'ban_expires') AS until) b
     WHERE u.id = wanted AND u.id::text = directory_user.id COLLATE "C";
EXCEPTION WHEN invalid_text_representation OR numeric_value_out_of_range OR string_data_right_truncation THEN
    RETURN;
END
$$;

CREATE OR REPLACE VIEW usher.directory_users AS
SELECT u.id::text COLLATE "C" AS id,
       jsonb_strip_nulls(jsonb_build_object('name', u.name, 'avatar', u.image)) AS info,
       coalesce((to_jsonb(u) ->> 'banned')::boolean, false)
       AND coalesce(CASE WHEN b.until ~ 'T.*(Z|[+-]\d\d(:?\d\d)?)$' THEN b.until::timestamptz ELSE b.until::timestamp AT TIME ZONE 'UTC' END > now(), true) AS disabled
  FROM {schema}."user" u
 CROSS JOIN LATERAL (SELECT coalesce(to_jsonb(u) ->> 'banExpires', to_jsonb(u) ->> 'ban_expires') AS until) b;

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
