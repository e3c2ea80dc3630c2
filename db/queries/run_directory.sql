-- Runs the statements of usher.directory_sql. A COMMIT among them, which would
-- keep what has not been checked, is refused here as EXECUTE refuses it.
DO $$ BEGIN EXECUTE current_setting('usher.directory_sql'); END $$
