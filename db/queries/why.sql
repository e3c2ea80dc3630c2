-- The result first, then what counts, then what names the id, then the rest.
SELECT coalesce(grant_id, 0) AS grant_id, coalesce(subject_kind, '') AS subject_kind, coalesce(subject_id, '') AS subject_id,
       coalesce(organization_id, '') AS organization_id, coalesce(pattern, '') AS pattern, access, holds_from, holds_until,
       coalesce(matches, false) AS matches, counts, why
  FROM audit.why(@user_id, @kind, @id) e
 ORDER BY e.grant_id IS NOT NULL, counts DESC, matches DESC, grant_id
