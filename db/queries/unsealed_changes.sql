SELECT id, changed_at AS recorded_at, digest
  FROM usher.changes
 WHERE id > @after AND id <= @through
 ORDER BY id
 LIMIT @at_most
