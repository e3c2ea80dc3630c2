-- Somebody else may have made the same meanwhile.
INSERT INTO usher.memberships (user_id, member_of_kind, member_of_id, created_by)
VALUES (@user_id::text, @kind, @id::text, @actor)
ON CONFLICT (user_id, member_of_kind, member_of_id) WHERE ended_at IS NULL DO NOTHING
RETURNING user_id, member_of_kind, member_of_id, created_at, created_by
