SELECT id, recorded_at, digest
  FROM usher.decisions
 WHERE id > @after AND id <= @through
 ORDER BY id
 LIMIT @at_most
