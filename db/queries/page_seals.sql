SELECT first_leaf, tree_size, decisions_through, changes_through, decision_ids, change_ids, hashes, checkpoint
  FROM audit.seals
 WHERE first_leaf >= @from
 ORDER BY first_leaf
 LIMIT 100
