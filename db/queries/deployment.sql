SELECT d.mode,
       (SELECT coalesce(max(version), 0) FROM usher.migrations) AS schema_version,
       has_table_privilege('usher.decisions', 'UPDATE, DELETE, TRUNCATE') AS may_rewrite_audit,
       current_setting('synchronous_commit') IN ('off', 'local')
       OR current_setting('fsync') = 'off' AS loses_commits,
       d.session_salt, d.directory,
       coalesce((SELECT a.sha256 FROM usher.applied_schema a), '') AS schema_sha256
  FROM usher.deployment d
