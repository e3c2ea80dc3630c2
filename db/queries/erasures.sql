-- The recorded ways in which parts of the audit may go.
SELECT id, action, target, details
  FROM audit.change_leaves
 WHERE action IN ('audit.forget', 'audit.prune')
 ORDER BY id
