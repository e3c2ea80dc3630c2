SELECT resource_kind, pattern, access, grant_id, granted, through_kind, through_id, coalesce(organization_id, '') AS organization_id
  FROM audit.what_can(@user_id)
 ORDER BY resource_kind, pattern COLLATE "C", access, grant_id
