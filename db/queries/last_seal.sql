SELECT tree_size, decisions_through, changes_through, checkpoint
  FROM usher.seals
 ORDER BY first_leaf DESC
 LIMIT 1
