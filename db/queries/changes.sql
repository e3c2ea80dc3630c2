-- name: record_changes
-- Several changes of one actor, in order.
INSERT INTO usher.changes (actor, action, target, details, digest)
SELECT @actor, c.action, c.target, c.details::json, c.digest
  FROM unnest(@actions::text[], @targets::text[], @details::text[], @digests::bytea[]) AS c (action, target, details, digest)

-- name: list_changes
SELECT id, changed_at, actor, action, target, details
  FROM usher.changes
 WHERE (@actor::text = '' OR actor = @actor)
   AND (@action::text = '' OR action = @action)
   AND (@target::text = '' OR target = @target)
   AND changed_at >= coalesce(@since::timestamptz, '-infinity')
   AND changed_at < coalesce(@until::timestamptz, 'infinity')
   AND id < coalesce(nullif(@before::bigint, 0), 9223372036854775807)
 ORDER BY id DESC
 LIMIT nullif(@limit::integer, 0)
