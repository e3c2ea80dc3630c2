INSERT INTO usher.changes (actor, action, target, details, digest)
VALUES (@actor, @action, @target, @details::json, @digest)
