-- name: lock_idempotency_key
-- Of two requests under one key, the second waits and sees the first's answer.
SELECT pg_advisory_xact_lock(hashtextextended(json_build_array('usher.idempotency_keys', @admin_key_id::text, @key::text)::text, 0))

-- name: kept_answer
SELECT request_hash, answer
  FROM usher.idempotency_keys
 WHERE admin_key_id = @admin_key_id
   AND key = @key

-- name: keep_answer
INSERT INTO usher.idempotency_keys (admin_key_id, key, request_hash, answer)
VALUES (@admin_key_id, @key, @request_hash, @answer)

-- name: forget_answers
DELETE FROM usher.idempotency_keys WHERE created_at < now() - interval '24 hours'
