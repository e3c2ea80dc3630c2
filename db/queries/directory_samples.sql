-- A user who is a member of something, where there is one, and any other.
SELECT DISTINCT sample.id
  FROM ((SELECT user_id AS id FROM usher.directory_members LIMIT 1)
        UNION ALL
        (SELECT id FROM usher.directory_users LIMIT 1)) AS sample
 WHERE sample.id IS NOT NULL
