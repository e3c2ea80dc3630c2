-- The five objects that are the directory, as they stand now. version changes
-- with every CREATE OR REPLACE.
SELECT wanted.name, true AS is_function,
       p.ctid::text || ' ' || p.xmin::text AS version,
       pg_get_function_result(p.oid) AS columns,
       p.provolatile IN ('s', 'i') AS stable,
       p.prosecdef AS definer,
       p.prorows::integer AS rows,
       coalesce((SELECT substr(c, 13) FROM unnest(p.proconfig) c WHERE c LIKE 'search\_path=%'), '') AS search_path,
       has_function_privilege('usher_service', p.oid, 'EXECUTE')
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
       wanted.name = 'directory_users' OR has_table_privilege('usher_service', r.ev_class, 'SELECT'),
       format(E'CREATE OR REPLACE VIEW usher.%I AS\n%s', wanted.name, pg_get_viewdef(r.ev_class))
  FROM unnest(ARRAY['directory_users', 'directory_members']) AS wanted (name)
  JOIN pg_rewrite r ON r.ev_class = to_regclass('usher.' || wanted.name) AND r.rulename = '_RETURN'
