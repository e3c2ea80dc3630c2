-- What no checkpoint covers: how many rows, at most, since an id may have no
-- row; when the oldest of them was written; and whether a seal was just made.
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
       coalesce((SELECT sealed_at > clock_timestamp() - interval '0.9 s' FROM last), false) AS resting
  FROM through t
