INSERT INTO usher.signing_keys (kid, alg, public_key, encrypted_key, published_at, signs_from)
VALUES (@kid, @alg, @public_key, @encrypted_key, @published_at, @signs_from)
RETURNING kid, alg, created_at, published_at, signs_from, signs_until, unpublished_at, compromised_at
