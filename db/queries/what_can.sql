SELECT resource_kind, pattern, access, grant_id, granted, through_kind, through_id, organization_id
  FROM (SELECT resource_kind, pattern COLLATE "C" AS pattern, access, grant_id, granted, through_kind, through_id,
               coalesce(organization_id, '') AS organization_id
          FROM audit.what_can(@user_id)) r
 WHERE (resource_kind, pattern, access, grant_id, organization_id, through_kind, through_id)
     > (@after_resource_kind::text, @after_pattern::text, @after_access::text, @after_grant_id::bigint, @after_organization_id::text,
        @after_through_kind::text, @after_through_id::text)
 ORDER BY resource_kind, pattern, access, grant_id, organization_id, through_kind, through_id
 LIMIT nullif(@limit::integer, 0)
