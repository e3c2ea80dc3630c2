-- name: published_keys
SELECT alg, public_key
  FROM usher.signing_keys
 WHERE published_at <= now()
   AND (unpublished_at IS NULL OR unpublished_at > now())
   AND (compromised_at IS NULL OR compromised_at > now())

-- name: signing_keys
SELECT kid, alg, public_key, encrypted_key, published_at, signs_from, signs_until, unpublished_at, compromised_at
  FROM usher.signing_keys
 WHERE unpublished_at IS NULL OR unpublished_at > now()
 ORDER BY signs_from DESC, kid

-- name: add_signing_key
INSERT INTO usher.signing_keys (kid, alg, public_key, encrypted_key, published_at, signs_from)
VALUES (@kid, @alg, @public_key, @encrypted_key, @published_at, @signs_from)
RETURNING kid, alg, created_at, published_at, signs_from, signs_until, unpublished_at, compromised_at

-- name: list_signing_keys
SELECT kid, alg, created_at, published_at, signs_from, signs_until, unpublished_at, compromised_at
  FROM usher.signing_keys
 WHERE (signs_from, kid) > (@after::timestamptz, @after_kid::text)
 ORDER BY signs_from, kid
 LIMIT nullif(@limit::integer, 0)

-- name: lock_signing_keys
SELECT FROM usher.locks WHERE name = 'signing_keys' FOR UPDATE

-- name: has_signing_key
-- Whether a key of the algorithm signs now or will sign.
SELECT EXISTS (
    SELECT FROM usher.signing_keys
     WHERE alg = @alg
       AND compromised_at IS NULL
       AND (signs_until IS NULL OR signs_until > @now))
