-- For the audits of both servers: the number of tokens, and the number of tokens with one of
-- the given jtis.
SELECT 'usher' AS server, count(*) AS tokens, count(*) FILTER (WHERE jti = ANY(@jtis)) AS found
  FROM usher.decisions
 WHERE result = 'issued'
UNION ALL
SELECT 'node', count(*), count(*) FILTER (WHERE jti = ANY(@jtis))
  FROM app.decisions
