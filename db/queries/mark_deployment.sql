-- Marks a new database; of one that is marked, says how.
WITH marked AS (
    INSERT INTO usher.deployment (mode, session_salt) VALUES (@mode, @salt)
    ON CONFLICT DO NOTHING
    RETURNING mode
)
SELECT mode FROM marked
UNION ALL
SELECT mode FROM usher.deployment
LIMIT 1
