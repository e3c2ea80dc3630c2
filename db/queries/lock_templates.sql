-- One at a time may add a template.
SELECT pg_advisory_xact_lock(hashtextextended('usher.grants.templates ' || @kind::text, 0))
