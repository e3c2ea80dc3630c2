-- One row where usher's own directory has the subject, which stays there until
-- the transaction ends. Each lock is a query of its own, as UNION takes none.
WITH one_user AS (
    SELECT id FROM usher.users WHERE @kind::text = 'user' AND id = @id::text FOR KEY SHARE
), one_organization AS (
    SELECT id FROM usher.organizations WHERE @kind = 'organization' AND id = @id FOR KEY SHARE
), one_group AS (
    SELECT id FROM usher.groups WHERE @kind = 'group' AND id = @id FOR KEY SHARE
)
SELECT id FROM one_user
UNION ALL SELECT id FROM one_organization
UNION ALL SELECT id FROM one_group
