-- The columns of a table, as CREATE TABLE takes them.
SELECT string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' ORDER BY a.attnum)
  FROM pg_attribute a
 WHERE a.attrelid = @name::text::regclass AND a.attnum > 0 AND NOT a.attisdropped
