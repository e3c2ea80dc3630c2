SELECT id, subject_kind, subject_id, coalesce(organization_id, '') AS organization_id, resource_kind, pattern, access,
       valid_from, valid_until, coalesce(reason, '') AS reason, created_at, created_by,
       revoked_at, coalesce(revoked_by, '') AS revoked_by, coalesce(revoke_reason, '') AS revoke_reason
  FROM usher.grants
 WHERE (@id::bigint = 0 OR id = @id)
   AND (@subject_kind::text = '' OR subject_kind = @subject_kind AND subject_id = @subject_id)
   AND (@resource_kind::text = '' OR resource_kind = @resource_kind)
   AND (@pattern::text = '' OR pattern = @pattern)
   AND (@ended::boolean OR revoked_at IS NULL AND (valid_until IS NULL OR valid_until > now()))
   AND id > @after::bigint
 ORDER BY id
 LIMIT nullif(@limit::integer, 0)
