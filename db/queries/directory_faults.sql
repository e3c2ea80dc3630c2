-- What the views must not hold: nothing else could make sense of it.
SELECT 'usher.directory_users has an id that is null, empty or longer than 128 characters' AS fault
 WHERE EXISTS (SELECT FROM usher.directory_users WHERE (char_length(id) BETWEEN 1 AND 128) IS NOT TRUE)
UNION ALL
SELECT 'usher.directory_users has an info that is no JSON object'
 WHERE EXISTS (SELECT FROM usher.directory_users WHERE jsonb_typeof(info) <> 'object')
UNION ALL
SELECT 'usher.directory_users has a disabled that is null'
 WHERE EXISTS (SELECT FROM usher.directory_users WHERE disabled IS NULL)
UNION ALL
SELECT 'usher.directory_members has a kind that is neither organization nor group'
 WHERE EXISTS (SELECT FROM usher.directory_members WHERE (kind IN ('organization', 'group')) IS NOT TRUE)
UNION ALL
SELECT 'usher.directory_members has an id or user_id that is null, empty or longer than 128 characters'
 WHERE EXISTS (SELECT FROM usher.directory_members
                WHERE (char_length(id) BETWEEN 1 AND 128 AND char_length(user_id) BETWEEN 1 AND 128) IS NOT TRUE)
UNION ALL
SELECT 'usher.directory_members has an organization whose organization_id is not its own id'
 WHERE EXISTS (SELECT FROM usher.directory_members WHERE kind = 'organization' AND organization_id IS DISTINCT FROM id)
