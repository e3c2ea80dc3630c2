-- What the trigger of a deletion has revoked and ended: all that this
-- transaction wrote there.
SELECT (SELECT count(*) FROM usher.grants WHERE xmin = pg_current_xact_id()::xid) AS grants_revoked,
       (SELECT count(*) FROM usher.memberships WHERE xmin = pg_current_xact_id()::xid) AS memberships_ended
