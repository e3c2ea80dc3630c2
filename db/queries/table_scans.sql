-- How often this transaction has read each table from end to end.
SELECT format('%I.%I', schemaname, relname) AS name, seq_scan AS scans
  FROM pg_stat_xact_all_tables
 WHERE seq_scan > 0 AND relid >= 16384 -- none of Postgres' own
