// The endpoint that usher replaces, as an author would write it in an application's own
// server: one query for the session and its grants, a token signed with jose, one INSERT into
// the audit, the answer. It makes the same token from the same tables. usher also does what
// this endpoint leaves out: exact covering and size limits, recorded refusals, metrics, and
// one log line per request.
import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import fastify from 'fastify'
import { calculateJwkThumbprint, exportJWK, generateKeyPair, SignJWT } from 'jose'
import pg from 'pg'

const { BENCH_DATABASE_URL, BENCH_URL } = process.env
const lifetime = 300 // seconds

const pool = new pg.Pool({ connectionString: BENCH_DATABASE_URL })
const { privateKey, publicKey } = await generateKeyPair('Ed25519')
const jwk = await exportJWK(publicKey)
jwk.kid = await calculateJwkThumbprint(jwk)
const keySet = { keys: [{ ...jwk, alg: 'EdDSA', use: 'sig' }] }

const lookUp = `
  SELECT s.user_id, s.organization_id, u.info, now() AS at, g.grants
    FROM usher.sessions s
    JOIN usher.users u ON u.id = s.user_id
   CROSS JOIN LATERAL (
      SELECT json_agg(json_build_object('kind', g.resource_kind, 'pattern', g.pattern, 'access', g.access)) AS grants
        FROM (SELECT 'user' AS kind, s.user_id AS id
              UNION ALL SELECT 'everyone', ''
              UNION ALL SELECT m.member_of_kind, m.member_of_id
                FROM usher.memberships m
                LEFT JOIN usher.groups mg ON m.member_of_kind = 'group' AND mg.id = m.member_of_id
               WHERE m.user_id = s.user_id AND m.ended_at IS NULL
                 AND s.organization_id IN (m.member_of_id, mg.organization_id)) subject
        JOIN usher.grants g ON g.subject_kind = subject.kind AND g.subject_id = subject.id
       WHERE g.revoked_at IS NULL AND g.valid_from <= now() AND (g.valid_until IS NULL OR g.valid_until > now())
         AND (g.organization_id IS NULL OR g.organization_id = s.organization_id)) g
   WHERE s.token_hash = $1 AND s.expires_at > now() AND u.disabled_at IS NULL`

const record = `
  INSERT INTO app.decisions (issued_at, result, caller_kind, caller_id, user_id, organization_id, audience, room, patterns,
                             jti, kid, expires_at, ip, user_agent, origin, request_id, replica)
  VALUES ($1, 'issued', 'session', $2, $3, $4, 'liveblocks', $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`

const perms = {
  full: ['room:write', 'comments:write'],
  read: ['room:read', 'room:presence:write', 'comments:read'],
}

const matches = (pattern, room) => (pattern.endsWith('*') ? room.startsWith(pattern.slice(0, -1)) : pattern === room)

const app = fastify({ logger: false })

app.get('/.well-known/jwks.json', async () => keySet)

app.post('/api/auth', {
  schema: { body: { type: 'object', required: ['room'], properties: { room: { type: 'string', minLength: 1, maxLength: 128 } } } },
}, async (request, reply) => {
  if (request.headers.origin !== BENCH_URL) {
    return reply.code(403).send({ error: 'forbidden' })
  }
  const cookie = request.headers.cookie?.match(/(?:^|; )usher_session=([^;]+)/)?.[1]
  if (!cookie) {
    return reply.code(401).send({ error: 'unauthorized' })
  }
  const sessionHash = createHash('sha256').update(cookie).digest()
  const { rows: [user] } = await pool.query({ name: 'look-up', text: lookUp, values: [sessionHash] })
  if (!user) {
    return reply.code(401).send({ error: 'unauthorized' })
  }

  const { room } = request.body
  const granted = {}
  for (const grant of user.grants ?? []) {
    if (grant.kind !== 'room') continue
    const pattern = grant.pattern.replaceAll('{organization}', user.organization_id)
    if (granted[pattern] !== 'full') granted[pattern] = grant.access
  }
  if (!Object.keys(granted).some((pattern) => matches(pattern, room))) {
    return reply.code(403).send({ error: 'forbidden' })
  }

  const issuedAt = Math.floor(user.at.getTime() / 1000)
  const expiresAt = issuedAt + lifetime
  const jti = randomBytes(16).toString('base64url')
  const sid = sessionHash.toString('base64url', 0, 16)
  const token = await new SignJWT({
    org: user.organization_id,
    sid,
    k: 'acc',
    pid: 'usher',
    uid: user.user_id,
    perms: Object.fromEntries(Object.entries(granted).map(([pattern, access]) => [pattern, perms[access]])),
    ui: user.info,
  })
    .setProtectedHeader({ alg: 'EdDSA', kid: jwk.kid, typ: 'at+jwt' })
    .setIssuer(BENCH_URL)
    .setSubject(user.user_id)
    .setAudience('liveblocks')
    .setIssuedAt(issuedAt)
    .setExpirationTime(expiresAt)
    .setJti(jti)
    .sign(privateKey)

  const expires = new Date(expiresAt * 1000)
  await pool.query({ name: 'record', text: record, values: [
    user.at, sid, user.user_id, user.organization_id, room, { rooms: granted }, jti, jwk.kid, expires,
    request.ip, request.headers['user-agent'], request.headers.origin, randomUUID(), hostname(),
  ] })
  reply.header('cache-control', 'no-store')
  return { token, expiresAt: expires.toISOString() }
})

await app.listen({ host: '127.0.0.1', port: Number(new URL(BENCH_URL).port) })
