SELECT pg_advisory_xact_lock(hashtextextended('usher.signing_keys', 0))
