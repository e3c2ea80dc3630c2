-- name: add_grant
-- Returns no row if the same grant is already active.
INSERT INTO usher.grants (subject_kind, subject_id, organization_id, resource_kind, pattern, access,
                          valid_from, valid_until, reason, created_by)
VALUES (@subject_kind, @subject_id, nullif(@organization_id, ''), @resource_kind, @pattern, @access,
        coalesce(@valid_from, now()), @valid_until, nullif(@reason, ''), @actor)
ON CONFLICT DO NOTHING
RETURNING id, subject_kind, subject_id, coalesce(organization_id, '') AS organization_id, resource_kind, pattern, access,
          valid_from, valid_until, coalesce(reason, '') AS reason, created_at, created_by,
          revoked_at, coalesce(revoked_by, '') AS revoked_by, coalesce(revoke_reason, '') AS revoke_reason

-- name: list_grants
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

-- name: revoke_grant
-- greatest(), because a row can be younger than this transaction.
UPDATE usher.grants
   SET revoked_at = greatest(now(), created_at), revoked_by = @actor, revoke_reason = nullif(@reason, '')
 WHERE id = @id AND revoked_at IS NULL
RETURNING id, subject_kind, subject_id, coalesce(organization_id, '') AS organization_id, resource_kind, pattern, access,
          valid_from, valid_until, coalesce(reason, '') AS reason, created_at, created_by,
          revoked_at, coalesce(revoked_by, '') AS revoked_by, coalesce(revoke_reason, '') AS revoke_reason

-- name: lock_templates
-- Only one transaction at a time may add a template.
SELECT FROM usher.locks WHERE name = 'templates' FOR UPDATE

-- name: live_templates
-- The first active grant of each template.
SELECT DISTINCT ON (pattern) id, pattern
  FROM usher.grants
 WHERE resource_kind = @kind AND revoked_at IS NULL AND pattern <> template_shape
 ORDER BY pattern, id
