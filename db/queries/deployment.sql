SELECT d.mode,
       (SELECT coalesce(max(version_id), 0) FROM usher.migrations WHERE is_applied) AS schema_version,
       has_table_privilege('usher.decisions', 'UPDATE, DELETE, TRUNCATE') AS may_rewrite_audit,
       current_setting('synchronous_commit') IN ('off', 'local')
       OR current_setting('fsync') = 'off' AS loses_commits,
       d.session_salt, d.directory
  FROM usher.deployment d
