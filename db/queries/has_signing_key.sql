-- Whether a key of the algorithm signs, or is going to.
SELECT EXISTS (
    SELECT FROM usher.signing_keys
     WHERE alg = @alg
       AND compromised_at IS NULL
       AND (signs_until IS NULL OR signs_until > @now))
