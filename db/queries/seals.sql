-- name: token_leaf
SELECT id, recorded_at, issued_at, result, reason, caller_kind, caller_id, user_id, organization_id, requested_organization_id,
       audience, room, store, token_kind, patterns, claims, partial, skipped_grants, warnings, jti, kid, expires_at, ip, user_agent, origin, request_id, replica, count, salt,
       personal_digest, digest
  FROM audit.decision_leaves
 WHERE jti = @jti
 LIMIT 1

-- name: seal_of_decision
SELECT first_leaf, decision_ids
  FROM audit.seals
 WHERE decisions_through >= @id
 ORDER BY decisions_through, first_leaf
 LIMIT 1

-- name: last_checkpoint
SELECT tree_size, checkpoint
  FROM audit.seals
 ORDER BY first_leaf DESC
 LIMIT 1

-- name: unsealed
-- The unsealed rows: an upper bound of their number, because an id may have no row;
-- the time of the oldest one; whether a seal was made just now; and the number of
-- sealed rows.
WITH last AS (
    SELECT tree_size, decisions_through, changes_through, sealed_at
      FROM usher.seals
     ORDER BY first_leaf DESC
     LIMIT 1
), through AS (
    SELECT coalesce((SELECT decisions_through FROM last), 0) AS decisions, coalesce((SELECT changes_through FROM last), 0) AS changes
)
SELECT (SELECT last_value FROM usher.decisions_id_seq) - t.decisions + (SELECT last_value FROM usher.changes_id_seq) - t.changes AS rows,
       least((SELECT d.recorded_at FROM usher.decisions d WHERE d.id > t.decisions ORDER BY d.id LIMIT 1),
             (SELECT c.changed_at FROM usher.changes c WHERE c.id > t.changes ORDER BY c.id LIMIT 1)) AS oldest,
       coalesce((SELECT sealed_at > clock_timestamp() - interval '0.9 s' FROM last), false) AS resting,
       coalesce((SELECT tree_size FROM last), 0) AS tree_size
  FROM through t

-- name: settled_decisions
SELECT usher.settled_decisions()

-- name: settled_changes
SELECT usher.settled_changes()

-- name: lock_seals
-- Only one sealer works at a time. The others get no row, and try again later.
SELECT true FROM usher.locks WHERE name = 'seals' FOR UPDATE SKIP LOCKED

-- name: last_seal
SELECT tree_size, decisions_through, changes_through, checkpoint
  FROM usher.seals
 ORDER BY first_leaf DESC
 LIMIT 1

-- name: unsealed_decisions
SELECT id, recorded_at, digest
  FROM usher.decisions
 WHERE id > @after AND id <= @through
 ORDER BY id
 LIMIT @at_most

-- name: unsealed_changes
SELECT id, changed_at AS recorded_at, digest
  FROM usher.changes
 WHERE id > @after AND id <= @through
 ORDER BY id
 LIMIT @at_most

-- name: add_seal
INSERT INTO usher.seals (first_leaf, tree_size, decisions_through, changes_through, decision_ids, change_ids, first_hash, hashes, checkpoint)
VALUES (@first_leaf, @tree_size, @decisions_through, @changes_through, @decision_ids, @change_ids, @first_hash, @hashes, @checkpoint)

-- name: tree_hashes
-- Hashes by their index in the tree's storage, in the requested order. Each seal
-- contains a range of them.
SELECT substring(s.hashes FROM ((i.place - s.first_hash) * 32 + 1)::integer FOR 32)
  FROM unnest(@indexes::bigint[]) WITH ORDINALITY AS i (place, position)
 CROSS JOIN LATERAL (SELECT first_hash, hashes
                       FROM audit.seals
                      WHERE first_hash <= i.place
                      ORDER BY first_hash DESC
                      LIMIT 1) s
 ORDER BY i.position

-- name: page_seals
SELECT first_leaf, tree_size, decisions_through, changes_through, decision_ids, change_ids, hashes, checkpoint
  FROM audit.seals
 WHERE first_leaf >= @from
 ORDER BY first_leaf
 LIMIT 100

-- name: decision_leaves
SELECT id, recorded_at, issued_at, result, reason, caller_kind, caller_id, user_id, organization_id, requested_organization_id,
       audience, room, store, token_kind, patterns, claims, partial, skipped_grants, warnings, jti, kid, expires_at, ip, user_agent, origin, request_id, replica, count, salt,
       personal_digest, digest
  FROM audit.decision_leaves
 WHERE id > @after AND id <= @through
 ORDER BY id

-- name: change_leaves
SELECT id, recorded_at, actor, action, target, details, digest
  FROM audit.change_leaves
 WHERE id > @after AND id <= @through
 ORDER BY id

-- name: erasures
-- The recorded erasures of parts of the audit.
SELECT id, action, target, details
  FROM audit.change_leaves
 WHERE action IN ('audit.forget', 'audit.prune')
 ORDER BY id
