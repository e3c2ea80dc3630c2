-- A row can be younger than this transaction, hence greatest().
UPDATE usher.grants
   SET revoked_at = greatest(now(), created_at), revoked_by = @actor, revoke_reason = nullif(@reason, '')
 WHERE id = @id AND revoked_at IS NULL
RETURNING id, subject_kind, subject_id, coalesce(organization_id, '') AS organization_id, resource_kind, pattern, access,
          valid_from, valid_until, coalesce(reason, '') AS reason, created_at, created_by,
          revoked_at, coalesce(revoked_by, '') AS revoked_by, coalesce(revoke_reason, '') AS revoke_reason
