SELECT id, subject_kind, subject_id, coalesce(organization_id, '') AS organization_id, resource_kind, pattern, access,
       valid_from, valid_until, coalesce(reason, '') AS reason, created_at, created_by,
       revoked_at, coalesce(revoked_by, '') AS revoked_by, coalesce(revoke_reason, '') AS revoke_reason
  FROM audit.unused_grants(@since)
 ORDER BY id
