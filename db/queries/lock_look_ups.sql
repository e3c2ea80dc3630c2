-- Waits for the look-ups on their way, and has the next ones wait for the
-- commit: a look-up calls three functions, which must be of one directory.
-- Every look-up reads the grants.
LOCK TABLE usher.grants IN ACCESS EXCLUSIVE MODE
