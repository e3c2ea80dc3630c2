-- name: add_group
INSERT INTO usher.groups (id, organization_id, name, created_by)
VALUES (@id::text, nullif(@organization_id, ''), nullif(@name, ''), @actor)
RETURNING id, coalesce(organization_id, '') AS organization_id, coalesce(name, '') AS name, created_at, created_by

-- name: group
SELECT id, coalesce(organization_id, '') AS organization_id, coalesce(name, '') AS name, created_at, created_by
  FROM usher.groups
 WHERE id = @id::text

-- name: list_groups
SELECT id, coalesce(organization_id, '') AS organization_id, coalesce(name, '') AS name, created_at, created_by
  FROM usher.groups
 WHERE id > @after::text
 ORDER BY id
 LIMIT nullif(@limit::integer, 0)

-- name: rename_group
UPDATE usher.groups
   SET name = nullif(@name, '')
 WHERE id = @id::text
RETURNING id, coalesce(organization_id, '') AS organization_id, coalesce(name, '') AS name, created_at, created_by

-- name: delete_group
DELETE FROM usher.groups WHERE id = @id::text
