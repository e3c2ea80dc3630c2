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
       coalesce((SELECT a.sha256 FROM usher.applied_schema a), '') AS schema_sha256
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
-- Whether a role exists, its comment, and the name of this database.
SELECT r.oid IS NOT NULL AS exists, coalesce(shobj_description(r.oid, 'pg_authid'), '') AS comment, current_database()::text AS database
  FROM (SELECT @name::text AS name) wanted
  LEFT JOIN pg_roles r ON r.rolname = wanted.name
