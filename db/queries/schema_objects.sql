-- What stands in usher's two schemas now, triggers included. version changes with
-- every CREATE OR REPLACE. A trigger that Postgres cloned to a partition is the
-- parent's. id is what DROP takes.
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
