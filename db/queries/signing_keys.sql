SELECT kid, alg, public_key, encrypted_key, published_at, signs_from, signs_until, unpublished_at, compromised_at
  FROM usher.signing_keys
 WHERE unpublished_at IS NULL OR unpublished_at > now()
 ORDER BY signs_from DESC, kid
