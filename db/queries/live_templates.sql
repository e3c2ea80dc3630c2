-- The first grant of each template.
SELECT DISTINCT ON (pattern) id, pattern
  FROM usher.grants
 WHERE resource_kind = @kind AND revoked_at IS NULL AND pattern <> template_shape
 ORDER BY pattern, id
