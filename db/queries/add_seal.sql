INSERT INTO usher.seals (first_leaf, tree_size, decisions_through, changes_through, decision_ids, change_ids, first_hash, hashes, checkpoint)
VALUES (@first_leaf, @tree_size, @decisions_through, @changes_through, @decision_ids, @change_ids, @first_hash, @hashes, @checkpoint)
