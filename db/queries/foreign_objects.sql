-- What DROP ... CASCADE of a view, a function or a type may take along. name is
-- as in schema_objects.sql.
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
