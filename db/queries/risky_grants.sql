SELECT reason, coalesce(grant_id, 0) AS grant_id, coalesce(api_key_id, '') AS api_key_id, coalesce(subject_kind, '') AS subject_kind,
       coalesce(subject_id, '') AS subject_id, coalesce(organization_id, '') AS organization_id, coalesce(resource_kind, '') AS resource_kind,
       coalesce(pattern, '') AS pattern, coalesce(access, '') AS access, created_at, created_by
  FROM audit.risky_grants
 ORDER BY reason, grant_id, api_key_id
