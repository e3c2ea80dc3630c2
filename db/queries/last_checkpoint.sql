SELECT tree_size, checkpoint
  FROM audit.seals
 ORDER BY first_leaf DESC
 LIMIT 1
