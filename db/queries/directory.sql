-- name: lock_directory
-- Returns the directory in force. Concurrent changes wait for each other.
SELECT directory FROM usher.deployment FOR UPDATE

-- name: set_local
-- Sets a parameter until the transaction ends.
SELECT set_config(@name, @value, true)

-- name: run_directory
-- Runs the statements of usher.directory_sql. A COMMIT among them, which would
-- keep unchecked changes, fails because EXECUTE refuses it.
DO $$ BEGIN EXECUTE current_setting('usher.directory_sql'); END $$

-- name: directory_objects
-- The present five objects of the directory. version changes with every CREATE
-- OR REPLACE.
SELECT wanted.name, true AS is_function,
       p.ctid::text || ' ' || p.xmin::text AS version,
       pg_get_function_result(p.oid) AS columns,
       p.provolatile IN ('s', 'i') AS stable,
       p.prosecdef AS definer,
       p.prorows::integer AS rows,
       coalesce((SELECT substr(c, 13) FROM unnest(p.proconfig) c WHERE c LIKE 'search\_path=%'), '') AS search_path,
       has_function_privilege((SELECT service_role FROM usher.deployment), p.oid, 'EXECUTE')
       AND NOT EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) WHERE grantee = 0) AS privileges,
       pg_get_functiondef(p.oid) AS definition
  FROM unnest(ARRAY['directory_session', 'directory_user', 'directory_memberships'],
              ARRAY['token', 'id', 'user_id']) WITH ORDINALITY AS wanted (name, argument, n)
  JOIN pg_proc p ON p.oid = to_regprocedure('usher.' || wanted.name || '(text)') AND p.proargnames[1] = wanted.argument
UNION ALL
SELECT wanted.name, false,
       r.ctid::text || ' ' || r.xmin::text,
       (SELECT string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum)
          FROM pg_attribute a WHERE a.attrelid = r.ev_class AND a.attnum > 0),
       true, true, 0, '',
       wanted.name = 'directory_users' OR has_table_privilege((SELECT service_role FROM usher.deployment), r.ev_class, 'SELECT'),
       format(E'CREATE OR REPLACE VIEW usher.%I AS\n%s', wanted.name, pg_get_viewdef(r.ev_class))
  FROM unnest(ARRAY['directory_users', 'directory_members']) AS wanted (name)
  JOIN pg_rewrite r ON r.ev_class = to_regclass('usher.' || wanted.name) AND r.rulename = '_RETURN'

-- name: directory_rows
-- How many rows one of the directory's functions returns for a text.
SELECT CASE @function::text
           WHEN 'directory_session' THEN (SELECT count(*) FROM usher.directory_session(@text))
           WHEN 'directory_user' THEN (SELECT count(*) FROM usher.directory_user(@text))
           ELSE (SELECT count(*) FROM usher.directory_memberships(@text))
       END

-- name: directory_lists
SELECT EXISTS (SELECT FROM usher.directory_users WHERE id = @id COLLATE "C")

-- name: directory_samples
-- At most two users: one who is a member of something, and any one.
SELECT DISTINCT sample.id
  FROM ((SELECT user_id AS id FROM usher.directory_members LIMIT 1)
        UNION ALL
        (SELECT id FROM usher.directory_users LIMIT 1)) AS sample
 WHERE sample.id IS NOT NULL

-- name: directory_faults
-- Values that the views must not contain, because usher cannot use them.
SELECT 'usher.directory_users has an id that is null, empty or longer than 128 characters' AS fault
 WHERE EXISTS (SELECT FROM usher.directory_users WHERE (char_length(id) BETWEEN 1 AND 128) IS NOT TRUE)
UNION ALL
SELECT 'usher.directory_users has an info that is not a JSON object'
 WHERE EXISTS (SELECT FROM usher.directory_users WHERE jsonb_typeof(info) <> 'object')
UNION ALL
SELECT 'usher.directory_users has a disabled that is null'
 WHERE EXISTS (SELECT FROM usher.directory_users WHERE disabled IS NULL)
UNION ALL
SELECT 'usher.directory_members has a kind that is neither organization nor group'
 WHERE EXISTS (SELECT FROM usher.directory_members WHERE (kind IN ('organization', 'group')) IS NOT TRUE)
UNION ALL
SELECT 'usher.directory_members has an id or user_id that is null, empty or longer than 128 characters'
 WHERE EXISTS (SELECT FROM usher.directory_members
                WHERE (char_length(id) BETWEEN 1 AND 128 AND char_length(user_id) BETWEEN 1 AND 128) IS NOT TRUE)
UNION ALL
SELECT 'usher.directory_members has an organization whose organization_id is not its own id'
 WHERE EXISTS (SELECT FROM usher.directory_members WHERE kind = 'organization' AND organization_id IS DISTINCT FROM id)

-- name: directory_agrees
-- Whether tokens and audit see the same user and memberships.
SELECT (SELECT count(*) FROM usher.directory_user(@id)) = 1
       AND (SELECT (f.info, f.disabled) IS NOT DISTINCT FROM (v.info, v.disabled)
              FROM usher.directory_user(@id) f, usher.directory_users v
             WHERE v.id = @id) AS user_agrees,
       NOT EXISTS ((SELECT kind, id, organization_id FROM usher.directory_memberships(@id)
                    EXCEPT SELECT kind, id, organization_id FROM usher.directory_members WHERE user_id = @id)
                   UNION ALL
                   (SELECT kind, id, organization_id FROM usher.directory_members WHERE user_id = @id
                    EXCEPT SELECT kind, id, organization_id FROM usher.directory_memberships(@id))) AS memberships_agree

-- name: table_scans
-- How often this transaction has read each whole table.
SELECT format('%I.%I', schemaname, relname) AS name, seq_scan AS scans
  FROM pg_stat_xact_all_tables
 WHERE seq_scan > 0 AND relid >= 16384 -- not Postgres' own

-- name: lock_look_ups
-- Waits for the running look-ups. New ones wait for the commit: a look-up calls
-- three functions, which must belong to the same directory. Every look-up reads
-- the grants.
LOCK TABLE usher.grants IN ACCESS EXCLUSIVE MODE

-- name: set_directory
UPDATE usher.deployment SET directory = @name

-- name: directory_in_force
SELECT directory FROM usher.deployment

-- name: users_gone
-- Users who have grants and are not in the directory, and the number of users
-- who have grants.
WITH holder AS (
    SELECT DISTINCT subject_id AS id FROM usher.grants WHERE subject_kind = 'user' AND revoked_at IS NULL
), asked AS (
    SELECT id, NOT EXISTS (SELECT FROM usher.directory_user(holder.id)) AS gone FROM holder
)
SELECT count(*) AS holders, coalesce(array_agg(id ORDER BY id) FILTER (WHERE gone), '{}') AS gone
  FROM asked

-- name: revoke_grants_of_users
-- greatest(), because a row can be younger than this transaction.
UPDATE usher.grants
   SET revoked_at = greatest(now(), created_at), revoked_by = @actor, revoke_reason = 'user gone'
 WHERE subject_kind = 'user' AND subject_id = ANY(@users) AND revoked_at IS NULL
   AND NOT EXISTS (SELECT FROM usher.directory_user(subject_id))
RETURNING id, subject_kind, subject_id, coalesce(organization_id, '') AS organization_id, resource_kind, pattern, access,
          valid_from, valid_until, coalesce(reason, '') AS reason, created_at, created_by,
          revoked_at, coalesce(revoked_by, '') AS revoked_by, coalesce(revoke_reason, '') AS revoke_reason

-- name: application_columns
-- The columns of an application's tables. A preset looks for its own in them.
SELECT c.relname AS table, a.attname AS name, format_type(a.atttypid, NULL) AS type
  FROM pg_attribute a
  JOIN pg_class c ON c.oid = a.attrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = @schema AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND a.attnum > 0 AND NOT a.attisdropped
