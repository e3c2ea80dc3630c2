WITH ended AS (
    DELETE FROM usher.sessions WHERE user_id = @user_id::text
    RETURNING expires_at
)
SELECT count(*) FROM ended WHERE expires_at > now()
