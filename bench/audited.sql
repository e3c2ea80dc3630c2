-- What the audits hold: all tokens of either server, and how many of those
-- whose jti is given.
SELECT 'usher' AS server, count(*) AS tokens, count(*) FILTER (WHERE jti = ANY(@jtis)) AS found
  FROM usher.decisions
 WHERE result = 'issued'
UNION ALL
SELECT 'node', count(*), count(*) FILTER (WHERE jti = ANY(@jtis))
  FROM app.decisions
