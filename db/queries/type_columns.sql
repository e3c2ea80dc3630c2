-- The columns of a composite type in text; empty where there is no such type.
SELECT coalesce(string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' ORDER BY a.attnum), '')
  FROM pg_attribute a
 WHERE a.attrelid = to_regclass(@name) AND a.attnum > 0 AND NOT a.attisdropped
