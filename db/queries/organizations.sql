-- name: add_organization
INSERT INTO usher.organizations (id, name, created_by)
VALUES (@id::text, nullif(@name, ''), @actor)
RETURNING id, coalesce(name, '') AS name, created_at, created_by

-- name: organization
SELECT id, coalesce(name, '') AS name, created_at, created_by
  FROM usher.organizations
 WHERE id = @id::text

-- name: list_organizations
SELECT id, coalesce(name, '') AS name, created_at, created_by
  FROM usher.organizations
 WHERE id > @after::text
 ORDER BY id
 LIMIT nullif(@limit::integer, 0)

-- name: rename_organization
UPDATE usher.organizations
   SET name = nullif(@name, '')
 WHERE id = @id::text
RETURNING id, coalesce(name, '') AS name, created_at, created_by

-- name: delete_organization
DELETE FROM usher.organizations WHERE id = @id::text
