-- name: lock_idempotency_key
-- A second request with the same key waits, and then sees the first one's response.
-- There are 32 locks, so one in 32 other requests waits too.
SELECT FROM usher.locks
 WHERE name = 'idempotency_keys_' || (hashtextextended(json_build_array(@admin_key_id::text, @key::text)::text, 0) & 31)
   FOR UPDATE

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
