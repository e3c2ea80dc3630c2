SELECT kid, alg, created_at, published_at, signs_from, signs_until, unpublished_at, compromised_at
  FROM usher.signing_keys
 WHERE (signs_from, kid) > (@after::timestamptz, @after_kid::text)
 ORDER BY signs_from, kid
 LIMIT nullif(@limit::integer, 0)
