SELECT alg, public_key
  FROM usher.signing_keys
 WHERE published_at <= now()
   AND (unpublished_at IS NULL OR unpublished_at > now())
   AND (compromised_at IS NULL OR compromised_at > now())
