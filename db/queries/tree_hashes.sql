-- Hashes by their places in the tree's storage, in the order asked for. Each
-- seal holds a run of them.
SELECT substring(s.hashes FROM ((i.place - s.first_hash) * 32 + 1)::integer FOR 32)
  FROM unnest(@indexes::bigint[]) WITH ORDINALITY AS i (place, position)
 CROSS JOIN LATERAL (SELECT first_hash, hashes
                       FROM audit.seals
                      WHERE first_hash <= i.place
                      ORDER BY first_hash DESC
                      LIMIT 1) s
 ORDER BY i.position
