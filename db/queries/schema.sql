-- name: schema_applied
SELECT sha256, objects FROM usher.applied_schema

-- name: set_schema_applied
INSERT INTO usher.applied_schema (sha256, objects) VALUES (@sha256, @objects)
ON CONFLICT (singleton) DO UPDATE SET sha256 = EXCLUDED.sha256, objects = EXCLUDED.objects, applied_at = now()

-- name: schema_objects
-- The objects in usher's two schemas, including triggers. version changes with every
-- CREATE OR REPLACE. A trigger that Postgres cloned to a partition belongs to the
-- parent and is left out. id is the name that DROP needs.
SELECT 'FUNCTION' AS kind, n.nspname || '.' || p.proname AS name, p.oid::regprocedure::text AS id, p.oid::text || p.ctid::text || p.xmin::text AS version
  FROM pg_proc p
  JOIN pg_namespace n ON n.oid = p.pronamespace
 WHERE n.nspname IN ('usher', 'audit')
UNION ALL
SELECT 'VIEW', n.nspname || '.' || c.relname, c.oid::regclass::text, c.oid::text || r.ctid::text || r.xmin::text
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_rewrite r ON r.ev_class = c.oid AND r.rulename = '_RETURN'
 WHERE n.nspname IN ('usher', 'audit') AND c.relkind = 'v'
UNION ALL
SELECT 'TYPE', n.nspname || '.' || c.relname, c.oid::regclass::text, c.oid::text
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname IN ('usher', 'audit') AND c.relkind = 'c'
UNION ALL
SELECT 'TRIGGER', n.nspname || '.' || c.relname || '.' || t.tgname, format('%I ON %s', t.tgname, c.oid::regclass), t.oid::text || t.ctid::text || t.xmin::text
  FROM pg_trigger t
  JOIN pg_class c ON c.oid = t.tgrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname IN ('usher', 'audit') AND NOT t.tgisinternal AND t.tgparentid = 0

-- name: foreign_objects
-- Objects that DROP ... CASCADE of a view, a function or a type may drop too. name is
-- as in schema_objects.
SELECT n.nspname || '.' || c.relname AS name, pg_describe_object('pg_class'::regclass, c.oid, 0) AS description
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('v', 'm', 'c') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
UNION ALL
SELECT n.nspname || '.' || p.proname, pg_describe_object('pg_proc'::regclass, p.oid, 0)
  FROM pg_proc p
  JOIN pg_namespace n ON n.oid = p.pronamespace
 WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')
UNION ALL
SELECT n.nspname || '.' || c.relname || '.' || t.tgname, pg_describe_object('pg_trigger'::regclass, t.oid, 0)
  FROM pg_trigger t
  JOIN pg_class c ON c.oid = t.tgrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE NOT t.tgisinternal
UNION ALL
SELECT NULL, pg_describe_object('pg_policy'::regclass, oid, 0) FROM pg_policy
UNION ALL
SELECT NULL, pg_describe_object('pg_attrdef'::regclass, oid, 0) FROM pg_attrdef
UNION ALL
SELECT NULL, pg_describe_object('pg_constraint'::regclass, oid, 0) FROM pg_constraint WHERE contype = 'c'
UNION ALL
SELECT NULL, pg_describe_object('pg_class'::regclass, a.attrelid, a.attnum)
  FROM pg_attribute a
  JOIN pg_type t ON t.oid = a.atttypid
 WHERE t.typnamespace IN ('usher'::regnamespace, 'audit'::regnamespace) AND a.attnum > 0 AND NOT a.attisdropped
   AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = a.attrelid AND c.relkind IN ('v', 'm', 'c'))

-- name: schema_privileges
-- Privileges on usher's views and functions of other roles than usher's own two, as
-- GRANT statements.
SELECT format('GRANT %s ON %s TO %s%s', a.privilege_type, o.id,
              CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END,
              CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END) AS sql,
       o.id AS object
  FROM (
    SELECT c.oid::regclass::text AS id, c.relowner AS owner, c.relacl AS acl
      FROM pg_class c
     WHERE c.relkind = 'v' AND c.relnamespace IN ('usher'::regnamespace, 'audit'::regnamespace)
    UNION ALL
    SELECT 'FUNCTION ' || p.oid::regprocedure, p.proowner, p.proacl
      FROM pg_proc p
     WHERE p.pronamespace IN ('usher'::regnamespace, 'audit'::regnamespace)
  ) o
 CROSS JOIN LATERAL aclexplode(o.acl) a
 WHERE a.grantee <> o.owner
   AND NOT (a.grantee = 0 AND o.id LIKE 'FUNCTION %')
   AND NOT EXISTS (SELECT FROM usher.deployment d JOIN pg_roles r ON r.rolname IN (d.service_role, d.auditor_role) WHERE r.oid = a.grantee)

-- name: roles_with_rights
-- Who asks, which of usher's schemas they may use, and who else may. Of a database
-- without them, who owns it.
SELECT current_user::regrole::text AS role,
       coalesce(u.nspowner, d.datdba)::regrole::text AS owner,
       coalesce(has_schema_privilege(u.oid, 'USAGE'), false) AS serves,
       coalesce(has_schema_privilege(a.oid, 'USAGE'), false) AS audits,
       ARRAY(SELECT x.grantee::regrole::text FROM aclexplode(u.nspacl) x
              WHERE x.privilege_type = 'USAGE' AND x.grantee NOT IN (0, u.nspowner) ORDER BY 1) AS service,
       ARRAY(SELECT x.grantee::regrole::text FROM aclexplode(a.nspacl) x
              WHERE x.privilege_type = 'USAGE' AND x.grantee NOT IN (0, a.nspowner)
                AND NOT EXISTS (SELECT FROM aclexplode(u.nspacl) y WHERE y.grantee = x.grantee) ORDER BY 1) AS auditor
  FROM pg_database d
  LEFT JOIN pg_namespace u ON u.nspname = 'usher'
  LEFT JOIN pg_namespace a ON a.nspname = 'audit'
 WHERE d.datname = current_database()

-- name: type_columns
-- The columns of a composite type as text. Empty if the type does not exist.
SELECT coalesce(string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' ORDER BY a.attnum), '')
  FROM pg_attribute a
 WHERE a.attrelid = to_regclass(@name) AND a.attnum > 0 AND NOT a.attisdropped

-- name: table_columns
-- The columns of a table, in the syntax of CREATE TABLE.
SELECT string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' ORDER BY a.attnum)
  FROM pg_attribute a
 WHERE a.attrelid = @name::text::regclass AND a.attnum > 0 AND NOT a.attisdropped

-- name: schema_definitions
-- The definitions of the functions, views, types and triggers in some schemas,
-- without their own names and schemas. pg_temp is the temporary schema of this
-- session. Triggers on partitions are left out: Postgres cloned them from the
-- parent, or they are against TRUNCATE and each partition has one.
WITH wanted AS (
    SELECT n.oid, n.nspname FROM pg_namespace n WHERE n.nspname = ANY (@schemas::text[])
    UNION ALL
    SELECT pg_my_temp_schema(), 'pg_temp' WHERE 'pg_temp' = ANY (@schemas)
)
SELECT 'FUNCTION' AS kind, w.nspname || '.' || p.proname AS name,
       concat_ws(' ', pg_get_function_arguments(p.oid), '->', pg_get_function_result(p.oid), l.lanname, p.provolatile, p.proparallel,
                 p.prosecdef, p.proleakproof, p.proisstrict, p.procost, p.prorows, p.proconfig::text, p.prosrc, pg_get_function_sqlbody(p.oid)) AS definition
  FROM pg_proc p
  JOIN wanted w ON w.oid = p.pronamespace
  JOIN pg_language l ON l.oid = p.prolang
UNION ALL
SELECT 'VIEW', w.nspname || '.' || c.relname,
       concat_ws(' ', c.reloptions::text,
                 (SELECT string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' ORDER BY a.attnum)
                    FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0),
                 pg_get_viewdef(c.oid))
  FROM pg_class c
  JOIN wanted w ON w.oid = c.relnamespace
 WHERE c.relkind = 'v'
UNION ALL
SELECT 'TYPE', w.nspname || '.' || c.relname,
       (SELECT string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' ORDER BY a.attnum)
          FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0)
  FROM pg_class c
  JOIN wanted w ON w.oid = c.relnamespace
 WHERE c.relkind = 'c'
UNION ALL
SELECT 'TRIGGER', w.nspname || '.' || c.relname || '.' || t.tgname,
       t.tgenabled::text || ' ' || regexp_replace(regexp_replace(pg_get_triggerdef(t.oid),
           ' ON (usher|pg_temp(_\d+)?)\.', ' ON '), 'EXECUTE FUNCTION (usher|pg_temp(_\d+)?)\.', 'EXECUTE FUNCTION ')
  FROM pg_trigger t
  JOIN pg_class c ON c.oid = t.tgrelid
  JOIN wanted w ON w.oid = c.relnamespace
 WHERE NOT t.tgisinternal AND t.tgparentid = 0
   AND NOT (t.tgname = 'keep_all' AND c.relname ~ '^decisions_\d')
