-- One row where usher's own directory is in force and has the subject, which
-- stays there until the transaction ends. Each lock is a query of its own, as
-- UNION takes none.
WITH own AS (
    SELECT directory = 'usher' AS in_force FROM usher.deployment
), one_user AS (
    SELECT id FROM usher.users WHERE (SELECT in_force FROM own) AND @kind::text = 'user' AND id = @id::text FOR KEY SHARE
), one_organization AS (
    SELECT id FROM usher.organizations WHERE (SELECT in_force FROM own) AND @kind = 'organization' AND id = @id FOR KEY SHARE
), one_group AS (
    SELECT id FROM usher.groups WHERE (SELECT in_force FROM own) AND @kind = 'group' AND id = @id FOR KEY SHARE
)
SELECT id FROM one_user
UNION ALL SELECT id FROM one_organization
UNION ALL SELECT id FROM one_group
