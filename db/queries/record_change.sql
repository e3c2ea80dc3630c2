-- The actor is the transaction's: see act_as.sql.
INSERT INTO usher.changes (actor, action, target, details)
VALUES (current_setting('usher.actor'), @action, @target, @details::jsonb)
