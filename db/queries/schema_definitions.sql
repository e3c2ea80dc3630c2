-- What the functions, views, types and triggers of some schemas are, without
-- their own names and schemas. pg_temp is this session's. A trigger that
-- Postgres cloned to a partition is the parent's; those against TRUNCATE are
-- made for each partition.
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
