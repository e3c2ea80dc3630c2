SELECT kid, alg, created_at, published_at, signs_from, signs_until, unpublished_at, compromised_at
  FROM usher.signing_keys
 ORDER BY signs_from, kid
