-- name: make_migrations_table
-- The applied steps of ../migrations.
CREATE TABLE IF NOT EXISTS usher.migrations (
    version    bigint      PRIMARY KEY,
    name       text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)

-- name: foreign_schemas
-- Before the first step: schemas with usher's names that belong to others or are not
-- empty, and one object in each.
SELECT n.nspname AS schema, n.nspowner::regrole::text AS owner,
       coalesce((SELECT c.oid::regclass::text FROM pg_class c WHERE c.relnamespace = n.oid AND c.relkind NOT IN ('i', 'I', 't') ORDER BY c.relname LIMIT 1),
                (SELECT p.oid::regprocedure::text FROM pg_proc p WHERE p.pronamespace = n.oid ORDER BY p.proname LIMIT 1), '') AS holds
  FROM pg_namespace n
 WHERE n.nspname IN ('usher', 'audit') AND to_regclass('usher.migrations') IS NULL
   AND (NOT pg_has_role(n.nspowner, 'USAGE')
        OR EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = n.oid)
        OR EXISTS (SELECT FROM pg_proc p WHERE p.pronamespace = n.oid))
 ORDER BY n.nspname

-- name: lock_migrations
-- Only one session may migrate at a time. The lock does not block readers of the
-- table, and only the owner can take it.
LOCK TABLE usher.migrations IN SHARE ROW EXCLUSIVE MODE

-- name: add_migration
INSERT INTO usher.migrations (version, name) VALUES (@version, @name)

-- name: has_foreign_tables
-- Whether a database that usher has not marked contains other tables.
SELECT to_regclass('usher.deployment') IS NULL
   AND EXISTS (SELECT FROM pg_class c
                 JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE c.relkind IN ('r', 'p')
                  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'usher'))

-- name: mark_deployment
INSERT INTO usher.deployment (mode, session_salt) VALUES (@mode, @salt)

-- name: set_roles
UPDATE usher.deployment SET service_role = @service, auditor_role = @auditor

-- name: role_privileges
-- A role's privileges in usher's schemas, as GRANT and REVOKE take them.
SELECT a.privilege_type || o.columns AS privilege, o.object
  FROM (
    SELECT 'SCHEMA ' || n.oid::regnamespace AS object, '' AS columns, n.nspacl AS acl
      FROM pg_namespace n
     WHERE n.nspname IN ('usher', 'audit')
    UNION ALL
    SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || c.oid::regclass, '', c.relacl
      FROM pg_class c
     WHERE c.relnamespace IN ('usher'::regnamespace, 'audit'::regnamespace)
    UNION ALL
    SELECT 'TABLE ' || c.oid::regclass, format(' (%I)', t.attname), t.attacl
      FROM pg_attribute t
      JOIN pg_class c ON c.oid = t.attrelid
     WHERE c.relnamespace IN ('usher'::regnamespace, 'audit'::regnamespace) AND NOT t.attisdropped
    UNION ALL
    SELECT 'FUNCTION ' || p.oid::regprocedure, '', p.proacl
      FROM pg_proc p
     WHERE p.pronamespace IN ('usher'::regnamespace, 'audit'::regnamespace)
  ) o
 CROSS JOIN LATERAL aclexplode(o.acl) a
  JOIN pg_roles r ON r.oid = a.grantee
 WHERE r.rolname = @role

-- name: databases_of_roles
-- The other databases of this server in which a role has privileges, or owns
-- something.
SELECT DISTINCT d.datname::text AS database
  FROM pg_shdepend s
  JOIN pg_database d ON d.oid = s.dbid
  JOIN pg_roles r ON r.oid = s.refobjid
 WHERE s.refclassid = 'pg_authid'::regclass AND r.rolname = ANY (@roles::text[]) AND d.datname <> current_database()
 ORDER BY 1
 LIMIT 5

-- name: migrations_applied
SELECT version FROM usher.migrations

-- name: deployment
SELECT d.mode,
       (SELECT coalesce(max(version), 0) FROM usher.migrations) AS schema_version,
       has_table_privilege('usher.decisions', 'UPDATE, DELETE, TRUNCATE') AS may_rewrite_audit,
       EXISTS (SELECT FROM pg_namespace n WHERE n.nspname = 'public' AND has_schema_privilege(n.oid, 'CREATE')) AS may_create_in_public,
       current_setting('synchronous_commit') IN ('off', 'local')
       OR current_setting('fsync') = 'off' AS loses_commits,
       d.session_salt, d.directory,
       coalesce((SELECT a.sha256 FROM usher.applied_schema a), '') AS schema_sha256,
       -- A database from before these columns has the names without a suffix.
       coalesce(nullif(to_jsonb(d) ->> 'service_role', ''), 'usher_service') AS service_role,
       coalesce(nullif(to_jsonb(d) ->> 'auditor_role', ''), 'usher_auditor') AS auditor_role
  FROM usher.deployment d

-- name: search_path
-- The search_path, and those of its schemas in which other roles than this one and
-- superusers may create objects.
SELECT current_setting('search_path') AS path,
       ARRAY(SELECT n.nspname::text
               FROM unnest(current_schemas(false)) s (name)
               JOIN pg_namespace n ON n.nspname = s.name
              WHERE EXISTS (SELECT FROM aclexplode(n.nspacl) a
                             WHERE a.privilege_type = 'CREATE' AND a.grantee <> n.nspowner
                               AND a.grantee <> (SELECT r.oid FROM pg_roles r WHERE r.rolname = current_user))) AS writable

-- name: service_login
-- Whether a role exists; the database for which it was created according to its
-- comment, if that database exists; and whether it is a member of the service's role.
-- Since PostgreSQL 16, the creator of that role is a member too, with the admin option.
SELECT r.oid IS NOT NULL AS exists, current_database()::text AS database,
       coalesce((SELECT d.datname::text FROM pg_database d WHERE shobj_description(r.oid, 'pg_authid') = @mark || d.datname), '') AS made_for,
       EXISTS (SELECT FROM pg_auth_members m JOIN pg_roles s ON s.oid = m.roleid WHERE m.member = r.oid AND s.rolname = @service AND NOT m.admin_option) AS is_member
  FROM (SELECT @name::text AS name) wanted
  LEFT JOIN pg_roles r ON r.rolname = wanted.name
