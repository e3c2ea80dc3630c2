SELECT pg_advisory_xact_lock(hashtextextended('usher.admin_keys ' || @name, 0))
