-- One sealer at a time; the others come again.
SELECT pg_try_advisory_xact_lock(hashtextextended('usher.seals', 0))
