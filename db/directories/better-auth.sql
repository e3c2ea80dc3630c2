-- Better Auth, in the tables that its CLI creates: user and session; member with
-- the organization plugin; team and teamMember with its teams, which are groups in
-- usher. Users banned by the admin plugin are disabled, and so are anonymous
-- users unless they are allowed. After adding a plugin, run this again.
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
    SELECT {{col "s" "session.userId"}}::text,
           {{if has "session.activeOrganizationId"}}{{col "s" "session.activeOrganizationId"}}::text{{else}}NULL::text{{end}},
           {{time "s" "session.expiresAt"}}
      FROM {{table "session"}} s
     WHERE {{col "s" "session.token"}} = directory_session.token;
END
$$;

{{define "disabled"}}
           {{- if has "user.banned"}}coalesce({{col "u" "user.banned"}}::boolean, false)
           AND coalesce({{time "u" "user.banExpires"}} > now(), true){{else}}false{{end}}
           {{- if refuseAnonymous}}
           OR coalesce({{col "u" "user.isAnonymous"}}::boolean, false){{end}}
{{- end -}}

CREATE OR REPLACE FUNCTION usher.directory_user(id text)
    RETURNS TABLE (info jsonb, disabled boolean)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 1
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    wanted {{table "user"}}.{{name "user.id"}}%TYPE;
BEGIN
    wanted := directory_user.id;
    RETURN QUERY
    SELECT jsonb_strip_nulls(jsonb_build_object('name', {{col "u" "user.name"}}, 'avatar', {{col "u" "user.image"}})),
           {{template "disabled"}}
      FROM {{table "user"}} u
     WHERE {{col "u" "user.id"}} = wanted AND {{col "u" "user.id"}}::text = directory_user.id COLLATE "C";
EXCEPTION WHEN invalid_text_representation OR numeric_value_out_of_range OR string_data_right_truncation THEN
    RETURN;
END
$$;

CREATE OR REPLACE VIEW usher.directory_users AS
SELECT {{col "u" "user.id"}}::text COLLATE "C" AS id,
       jsonb_strip_nulls(jsonb_build_object('name', {{col "u" "user.name"}}, 'avatar', {{col "u" "user.image"}})) AS info,
       {{template "disabled"}} AS disabled
  FROM {{table "user"}} u;

{{define "memberships"}}
        {{- if has "member"}}SELECT {{col "m" "member.userId"}} AS user_id, 'organization' AS kind, {{col "m" "member.organizationId"}} AS id, {{col "m" "member.organizationId"}} AS organization_id
          FROM {{table "member"}} m
        {{- else}}SELECT {{col "u" "user.id"}} AS user_id, NULL::text AS kind, {{col "u" "user.id"}} AS id, {{col "u" "user.id"}} AS organization_id
          FROM {{table "user"}} u
         WHERE false
        {{- end}}
        {{- if has "teamMember"}}
        -- A team counts only with the membership of its organization.
        UNION ALL
        SELECT {{col "tm" "teamMember.userId"}}, 'group', {{col "tm" "teamMember.teamId"}}, {{col "t" "team.organizationId"}}
          FROM {{table "teamMember"}} tm
          JOIN {{table "team"}} t ON {{col "t" "team.id"}} = {{col "tm" "teamMember.teamId"}}
          JOIN {{table "member"}} m ON {{col "m" "member.userId"}} = {{col "tm" "teamMember.userId"}} AND {{col "m" "member.organizationId"}} = {{col "t" "team.organizationId"}}
        {{- end}}
{{- end -}}

CREATE OR REPLACE FUNCTION usher.directory_memberships(user_id text)
    RETURNS TABLE (kind text, id text, organization_id text)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 10
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    wanted {{table "user"}}.{{name "user.id"}}%TYPE;
BEGIN
    wanted := directory_memberships.user_id;
    RETURN QUERY
    SELECT m.kind, m.id::text, m.organization_id::text
      FROM (
        {{template "memberships"}}
      ) m
     WHERE m.user_id = wanted AND m.user_id::text = directory_memberships.user_id COLLATE "C";
EXCEPTION WHEN invalid_text_representation OR numeric_value_out_of_range OR string_data_right_truncation THEN
    RETURN;
END
$$;

CREATE OR REPLACE VIEW usher.directory_members AS
SELECT m.user_id::text COLLATE "C" AS user_id, m.kind, m.id::text COLLATE "C" AS id, m.organization_id::text COLLATE "C" AS organization_id
  FROM (
        {{template "memberships"}}
       ) m;
