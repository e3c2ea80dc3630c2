-- Privileges on usher's views and functions that the operator gave to others
-- than usher's own two roles, as the statements that give them again.
SELECT format('GRANT %s ON %s TO %s%s', a.privilege_type, o.id,
              CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END,
              CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END) AS sql,
       o.id AS object
  FROM (
    SELECT c.oid::regclass::text AS id, c.relowner AS owner, c.relacl AS acl
      FROM pg_class c
     WHERE c.relkind = 'v' AND c.relnamespace IN ('usher'::regnamespace, 'audit'::regnamespace)
    UNION ALL
    SELECT 'FUNCTION ' || p.oid::regprocedure, p.proowner, p.proacl
      FROM pg_proc p
     WHERE p.pronamespace IN ('usher'::regnamespace, 'audit'::regnamespace)
  ) o
 CROSS JOIN LATERAL aclexplode(o.acl) a
 WHERE a.grantee <> o.owner
   AND NOT (a.grantee = 0 AND o.id LIKE 'FUNCTION %')
   AND (a.grantee = 0 OR a.grantee::regrole::text NOT IN ('usher_service', 'usher_auditor'))
