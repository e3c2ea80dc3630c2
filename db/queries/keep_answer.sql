INSERT INTO usher.idempotency_keys (admin_key_id, key, request_hash, answer)
VALUES (@admin_key_id, @key, @request_hash, @answer)
