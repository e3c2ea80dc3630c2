SELECT pg_advisory_xact_lock(hashtextextended('usher.api_keys ' || @name, 0))
