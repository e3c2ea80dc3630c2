-- Whether an unmarked database holds somebody's tables.
SELECT to_regclass('usher.deployment') IS NULL
   AND EXISTS (SELECT FROM pg_class c
                 JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE c.relkind IN ('r', 'p')
                  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'usher'))
