-- A row can be younger than this transaction, hence greatest().
UPDATE usher.grants
   SET revoked_at = greatest(now(), created_at), revoked_by = @actor, revoke_reason = 'user gone'
 WHERE subject_kind = 'user' AND subject_id = ANY(@users) AND revoked_at IS NULL
   AND NOT EXISTS (SELECT FROM usher.directory_user(subject_id))
RETURNING id, subject_kind, subject_id, coalesce(organization_id, '') AS organization_id, resource_kind, pattern, access,
          valid_from, valid_until, coalesce(reason, '') AS reason, created_at, created_by,
          revoked_at, coalesce(revoked_by, '') AS revoked_by, coalesce(revoke_reason, '') AS revoke_reason
