-- The months that have a partition and were over before a time, the first one
-- first.
SELECT month
  FROM pg_inherits i
  JOIN pg_class c ON c.oid = i.inhrelid,
       to_date(substring(c.relname FROM '^decisions_(\d{4}_\d\d)$'), 'YYYY_MM') AS month
 WHERE i.inhparent = 'usher.decisions'::regclass
   AND (month + interval '1 month') AT TIME ZONE 'UTC' <= @before
 ORDER BY month
