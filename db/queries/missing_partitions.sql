-- Months, of this one and the next three, that have no partition.
SELECT to_char(month, 'YYYY-MM')
  FROM generate_series(date_trunc('month', now() AT TIME ZONE 'UTC'),
                       date_trunc('month', now() AT TIME ZONE 'UTC') + interval '3 months', interval '1 month') AS month
 WHERE NOT EXISTS (
    SELECT
      FROM pg_inherits i
      JOIN pg_class c ON c.oid = i.inhrelid
     WHERE i.inhparent = 'usher.decisions'::regclass
       AND c.relname = 'decisions_' || to_char(month, 'YYYY_MM'))
 ORDER BY month
