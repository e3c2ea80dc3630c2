SELECT s.user_id, 'session-of-' || s.user_id AS cookie, g.pattern AS room
  FROM usher.sessions s
  JOIN usher.grants g ON g.subject_kind = 'user' AND g.subject_id = s.user_id
 WHERE g.pattern ~ ':document-\d+-0$'
 ORDER BY s.user_id
