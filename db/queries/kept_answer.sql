SELECT request_hash, answer
  FROM usher.idempotency_keys
 WHERE admin_key_id = @admin_key_id
   AND key = @key
