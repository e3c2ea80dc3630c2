INSERT INTO usher.memberships (user_id, member_of_kind, member_of_id, created_by)
VALUES (@user_id::text, @kind, @id::text, @actor)
RETURNING user_id, member_of_kind, member_of_id, created_at, created_by
