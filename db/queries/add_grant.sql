-- No row where the same grant is live already.
INSERT INTO usher.grants (subject_kind, subject_id, organization_id, resource_kind, pattern, access,
                          valid_from, valid_until, reason, created_by)
VALUES (@subject_kind, @subject_id, nullif(@organization_id, ''), @resource_kind, @pattern, @access,
        coalesce(@valid_from, now()), @valid_until, nullif(@reason, ''), @actor)
ON CONFLICT DO NOTHING
RETURNING id, subject_kind, subject_id, coalesce(organization_id, '') AS organization_id, resource_kind, pattern, access,
          valid_from, valid_until, coalesce(reason, '') AS reason, created_at, created_by,
          revoked_at, coalesce(revoked_by, '') AS revoked_by, coalesce(revoke_reason, '') AS revoke_reason
