SELECT principal_kind, principal_id, access, grant_id, through_kind, through_id, pattern, organization_id
  FROM (SELECT principal_kind, principal_id COLLATE "C" AS principal_id, access, coalesce(grant_id, 0) AS grant_id,
               through_kind, through_id, pattern, coalesce(organization_id, '') AS organization_id
          FROM audit.who_could(@kind, @id, @at, @access)) o
 WHERE (principal_kind, principal_id, access, grant_id, pattern, organization_id, through_kind, through_id)
     > (@after_principal_kind::text, @after_principal_id::text, @after_access::text, @after_grant_id::bigint, @after_pattern::text,
        @after_organization_id::text, @after_through_kind::text, @after_through_id::text)
 ORDER BY principal_kind, principal_id, access, grant_id, pattern, organization_id, through_kind, through_id
 LIMIT nullif(@limit::integer, 0)
