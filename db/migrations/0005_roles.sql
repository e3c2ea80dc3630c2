-- Roles belong to the whole server: each database has its own two, whose names it
-- keeps here. The schema's files call them usher_service and usher_auditor.
ALTER TABLE usher.deployment
    ADD service_role text NOT NULL DEFAULT '',
    ADD auditor_role text NOT NULL DEFAULT '';
COMMENT ON COLUMN usher.deployment.service_role IS 'The role that has the privileges of usher serve; its logins are members.';
COMMENT ON COLUMN usher.deployment.auditor_role IS 'The role that has the privileges of auditors; their logins are members.';
