SELECT first_leaf, decision_ids
  FROM audit.seals
 WHERE decisions_through >= @id
 ORDER BY decisions_through, first_leaf
 LIMIT 1
