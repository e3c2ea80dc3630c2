SELECT principal_kind, principal_id, access, coalesce(grant_id, 0) AS grant_id, through_kind, through_id, pattern,
       coalesce(organization_id, '') AS organization_id
  FROM audit.who_can(@kind, @id, @access)
 ORDER BY principal_kind, principal_id COLLATE "C", access, grant_id, pattern, organization_id
