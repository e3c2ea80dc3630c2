SELECT id, recorded_at, actor, action, target, details, digest
  FROM audit.change_leaves
 WHERE id > @after AND id <= @through
 ORDER BY id
