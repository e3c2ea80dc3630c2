-- Of two requests under one key, the second waits and sees the first's answer.
SELECT pg_advisory_xact_lock(hashtextextended(json_build_array('usher.idempotency_keys', @admin_key_id::text, @key::text)::text, 0))
