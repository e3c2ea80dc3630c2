// Five versions of Liveblocks' Node SDK, whose presets differ, with a real usher.
// Only their baseUrl is changed.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { crc32 } from 'node:zlib';

import { createClient } from '@liveblocks/client';
import { createRemoteJWKSet, jwtVerify } from 'jose';

import { startUsher, until } from '../../usher.mjs';
import { recordingClient } from './client.mjs';
import { refuseConnections, stands, startSDK, startServer } from './support.mjs';

const newest = '@liveblocks/node';
const legacy = ['room:write', 'room:read', 'room:presence:write', 'comments:write', 'comments:read'];
const legacyRead = ['room:read', 'room:presence:write', 'comments:read'];
const features = ['storage', 'comments', 'comments:public', 'comments:private', 'feeds'];

/**
 * For each version: its permissions for full and read access, all names that it
 * knows, whether it has organizations, and whether it reports the 4xx status of
 * the answer (up to 3.0 it reports every 4xx as 403).
 */
const versions = {
  'node-1.12': { full: ['room:write', 'comments:write'], read: legacyRead, knows: legacy },
  'node-2.24': { full: ['room:write', 'comments:write'], read: legacyRead, knows: legacy },
  'node-3.0': { full: ['room:write', 'comments:write'], read: legacyRead, knows: legacy },
  'node-3.19': {
    full: ['room:write'],
    read: legacyRead,
    knows: [...legacy, 'feeds:write'],
    organizations: true,
    told: true,
  },
  [newest]: {
    full: ['*:write'],
    read: ['*:read'],
    knows: [
      ...['*:write', '*:read', 'room:write', 'room:read', 'room:presence:write'],
      ...features.flatMap((feature) => ['read', 'write', 'none'].map((access) => `${feature}:${access}`)),
    ],
    organizations: true,
    told: true,
  },
};
const everyName = versions[newest].knows;

/** Unicode, and characters that some JSON encoders escape. */
const userInfo = { name: 'José ☃ 🎉', tags: ['<b>', '\u2028'], nested: { n: 1.5, none: null } };

let usher, revoked, acmeOnly, keys;
const sdks = new Map();

before(async () => {
  usher = await startUsher();
  const newKey = (...args) => JSON.parse(usher.command('apikey', 'create', '--json', ...args));
  acmeOnly = newKey('acme only', '--room', 'acme:*=read').key;
  const key = newKey('revoked', '--room', '*=full');
  usher.command('apikey', 'revoke', key.id);
  revoked = key.key;
  usher.command('user', 'disable', 'mallory');
  for (const group of ['g1', 'g 2']) {
    usher.command('group', 'add', group);
    usher.command('group', 'add-member', group, 'grace');
  }
  keys = createRemoteJWKSet(new URL(usher.jwksUrl));
  const config = { secret: usher.apiKey, baseUrl: usher.url };
  for (const version in versions) sdks.set(version, await startSDK(version, config));
});

after(async () => {
  for (const sdk of sdks.values()) await sdk.stop();
  await usher?.stop();
});

/** Part of every 422. */
const help = {
  suggestion: 'Please ensure the data follows the correct format',
  docs: 'https://liveblocks.io/docs/api-reference/rest-api-endpoints',
};

/** A well-formed key with a valid checksum that usher did not create. */
function strangersKey() {
  const [, environment, id, secret] = usher.apiKey.split('_');
  const body = ['sk', environment, [...id].reverse().join(''), secret].join('_');
  const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
  let checksum = '';
  for (let sum = crc32(body); checksum.length < 6; sum = Math.floor(sum / 62)) checksum = digits[sum % 62] + checksum;
  return `${body}_${checksum}`;
}

/** The claims of the token in an SDK's answer, verified like in a sync server. */
async function claims({ status, body, error, threw }) {
  assert.deepEqual({ status, error, threw }, { status: 200, error: undefined, threw: undefined }, body);
  const { token, ...rest } = JSON.parse(body);
  assert.deepEqual(rest, {});
  const { payload } = await jwtVerify(token, keys, {
    issuer: usher.issuer,
    audience: usher.audience,
    typ: 'at+jwt',
    algorithms: ['EdDSA'],
  });
  return payload;
}

/** Permissions in order, which deepEqual does not compare. */
const inOrder = (perms) => JSON.stringify(Object.entries(perms));

for (const [version, { full, read, knows, organizations, told }] of Object.entries(versions)) {
  const call = (...args) => sdks.get(version).call(...args);
  const session = { userId: 'ada', allow: [['acme:*', 'FULL_ACCESS']] };

  test(`${version}: a session's token is signed and holds the session's permissions`, async () => {
    const allow = [
      ['globex:*', 'READ_ACCESS'],
      ['acme:design:1', 'FULL_ACCESS'],
      ['both', 'FULL_ACCESS'],
      ['both', 'READ_ACCESS'],
    ];
    // The user is not in the directory: the other backend is responsible for its users.
    const userId = 'renée 🎉';
    const payload = await claims(await call('authorize', { userId, options: { userInfo }, allow }));
    const { k, sub, uid, perms, ui, org } = payload;
    assert.deepEqual({ k, sub, uid, ui, org }, { k: 'acc', sub: userId, uid: userId, ui: userInfo, org: undefined });
    assert.equal(inOrder(perms), inOrder({ 'globex:*': read, 'acme:design:1': full, both: [...full, ...read] }));
  });

  test(`${version}: the token holds every known permission, verbatim and in order`, async () => {
    const backwards = knows.toReversed();
    const allow = [
      ['*', backwards],
      ['acme:1', knows],
    ];
    const { perms } = await claims(await call('authorize', { userId: 'ada', allow }));
    assert.equal(inOrder(perms), inOrder({ '*': backwards, 'acme:1': knows }));
    for (const name of [...everyName, 'room:admin'].filter((name) => !knows.includes(name))) {
      const answer = await call('authorize', { userId: 'ada', allow: [['acme:1', [name]]] });
      assert.deepEqual(answer, { threw: `Not a valid permission: ${name}` });
    }
  });

  test(`${version}: ten patterns of the maximum length, and no permissions`, async () => {
    // 128 UTF-16 code units and the star.
    const patterns = Array.from({ length: 10 }, (_, i) => `${i}${'😀'.repeat(63)}x*`);
    const allow = patterns.map((pattern) => [pattern, ['room:read']]);
    const { perms } = await claims(await call('authorize', { userId: 'ada', allow }));
    assert.deepEqual(Object.keys(perms), patterns);
    assert.deepEqual((await claims(await call('authorize', { userId: 'ada', allow: [] }))).perms, {});
  });

  test(`${version}: an identity token carries no permissions`, async () => {
    const groups = ['g1', 'g 2'];
    for (const [identity, wanted] of [
      ['grace', undefined],
      [{ userId: 'grace', groupIds: groups }, groups],
    ]) {
      const payload = await claims(await call('identify', { identity, options: { userInfo } }));
      const { k, sub, uid, gids, ui } = payload;
      assert.deepEqual({ k, sub, uid, gids, ui }, { k: 'id', sub: 'grace', uid: 'grace', gids: wanted, ui: userInfo });
      assert.equal('perms' in payload || 'stores' in payload, false);
    }
  });

  if (organizations) {
    test(`${version}: organizationId, and its old name tenantId`, async () => {
      for (const options of [
        { organizationId: 'acme' },
        { tenantId: 'acme' },
        { organizationId: 'acme', tenantId: 'globex' },
      ]) {
        assert.equal((await claims(await call('authorize', { ...session, options }))).org, 'acme');
        assert.equal((await claims(await call('identify', { identity: { userId: 'ada', ...options } }))).org, 'acme');
      }
    });
  }

  test(`${version}: usher's refusals reach the caller`, async (t) => {
    const invalidKey = [403, { error: 'INVALID_SECRET_KEY', message: 'Invalid secret key.' }];
    const forbidden = (reason) => [403, { error: 'forbidden', message: reason, reason }];
    const unprocessable = (message) => [told ? 422 : 403, { error: 'UNPROCESSABLE_ENTITY', message, ...help }];
    const badUserID =
      "Value at key 'userId': must be a string of 1 to 128 characters without control characters.";
    const badInfo = "Value at key 'userInfo': must be at most 1024 characters once serialized.";
    const tooMuchInfo = { options: { userInfo: { name: 'n'.repeat(1014) } } }; // 1,025 characters with {"name":""}
    const beyond = 'it allows read access to the room pattern "acme:*", not full';
    for (const [name, changes, [status, body]] of [
      ['a key that nobody made', { secret: strangersKey() }, invalidKey],
      ['what is no key', { secret: 'sk_prod_1' }, invalidKey],
      ['a revoked key', { secret: revoked }, invalidKey],
      ['more than the key may', { secret: acmeOnly }, forbidden(`The request is outside of this API key's scope: ${beyond}.`)],
      ['a disabled user', { userId: 'mallory' }, forbidden('This user is disabled.')],
      ['a userId of 129 characters', { userId: 'u'.repeat(129) }, unprocessable(badUserID)],
      ['userInfo of 1,025', tooMuchInfo, unprocessable(badInfo)],
    ]) {
      await t.test(name, async () => {
        const answers = [await call('authorize', { ...session, ...changes })];
        const { userId: identity = 'ada', ...rest } = changes;
        // An identity has no scope but its route's.
        if (changes.secret !== acmeOnly) answers.push(await call('identify', { identity, ...rest }));
        for (const answer of answers) assert.deepEqual({ ...answer, body: JSON.parse(answer.body) }, { status, body });
      });
    }
  });

  test(`${version}: what the SDK refuses by itself`, async () => {
    const eleven = Array.from({ length: 11 }, (_, i) => [`room:${i}`, ['room:read']]);
    for (const [changes, message] of [
      [{ secret: 'pk_dev_1' }, /must start with .sk_/],
      [{ userId: '' }, /userId/],
      [{ allow: eleven }, /more than 10 rooms/],
      [{ allow: [['a**', ['room:read']]] }, /Invalid room name or pattern/],
      [{ allow: [['x'.repeat(129), ['room:read']]] }, /Invalid room name or pattern/],
      [{ allow: [['a', []]] }, /cannot be empty/],
    ]) {
      assert.match((await call('authorize', { ...session, ...changes })).threw ?? 'nothing thrown', message);
    }
  });

  test(`${version}: nobody at the address is 503`, async () => {
    const nobody = 'http://127.0.0.1:1';
    const { error, ...answer } = await call('authorize', { ...session, baseUrl: nobody });
    const body = 'Call to /v2/authorize-user failed. See "error" for more information.';
    assert.deepEqual(answer, { status: 503, body });
    assert.ok(error);
    const other = await call('identify', { identity: 'ada', baseUrl: nobody });
    assert.equal(other.body, `Call to ${nobody}/v2/identify-user failed. See "error" for more information.`);
    assert.equal(other.status, 503);
  });
}

/** A request that the SDK would not send. */
async function post(authorization, body, path = '/v2/authorize-user') {
  const headers = { 'content-type': 'application/json', ...(authorization && { authorization }) };
  const response = await fetch(`${usher.url}${path}`, { method: 'POST', headers, body });
  return { status: response.status, body: await response.json() };
}

test('what no SDK sends is refused in Liveblocks’ words', async (t) => {
  const good = { userId: 'ada', permissions: { 'acme:*': ['room:read'] } };
  const granting = (...patterns) => ({
    ...good,
    permissions: Object.fromEntries(patterns.map((pattern) => [pattern, ['room:read']])),
  });
  const publicKey = { error: 'WRONG_KEY_USED', message: 'Public key instead of the secret key.' };
  const tooMany = "Value at key 'permissions': A token cannot have more more than 10 permissions."; // sic
  const missing = { error: 'MISSING_SECRET_KEY', message: 'Missing secret key in authentication header' };
  const unprocessable = (message) => ({ error: 'UNPROCESSABLE_ENTITY', message, ...help });
  const bearer = `Bearer ${usher.apiKey}`;
  const eleven = Array.from({ length: 11 }, (_, i) => `room:${i}`);
  for (const [name, authorization, body, status, want] of [
    ['no key', undefined, good, 401, missing],
    ['another scheme', 'Basic c2s6', good, 401, missing],
    ['a public key', 'Bearer pk_dev_1', good, 401, publicKey],
    ['11 patterns', bearer, granting(...eleven), 422, unprocessable(tooMany)],
    ['no userId', bearer, { permissions: {} }, 422, unprocessable("Missing key: 'userId'.")],
    ['no permissions', bearer, { userId: 'ada' }, 422, unprocessable("Missing key: 'permissions'.")],
  ]) {
    await t.test(name, async () => {
      assert.deepEqual(await post(authorization, JSON.stringify(body)), { status, body: want });
    });
  }
  for (const [name, body, status, error] of [
    ['two stars', JSON.stringify(granting('a**')), 422, 'UNPROCESSABLE_ENTITY'],
    ['a pattern of 129 characters', JSON.stringify(granting('x'.repeat(129))), 422, 'UNPROCESSABLE_ENTITY'],
    ['an unknown permission', '{"userId":"ada","permissions":{"a":["room:admin"]}}', 422, 'UNPROCESSABLE_ENTITY'],
    ['not JSON', 'userId=ada', 400, 'BAD_REQUEST'],
    ['a name twice', '{"userId":"ada","userId":"grace","permissions":{}}', 400, 'BAD_REQUEST'],
  ]) {
    await t.test(name, async () => {
      const answer = await post(bearer, body);
      assert.deepEqual([answer.status, answer.body.error], [status, error]);
      assert.ok(answer.body.message);
    });
  }
  await t.test('a slash at the end and names of tomorrow are neither', async () => {
    const { status } = await post(bearer, JSON.stringify({ ...good, tomorrow: true }), '/v2/authorize-user/');
    assert.equal(status, 200);
  });
});

test('a revoked key is refused at the next request', async () => {
  const { id, key } = JSON.parse(usher.command('apikey', 'create', '--json', 'short-lived', '--room', 'acme:*=full'));
  const session = { secret: key, userId: 'ada', allow: [['acme:1', 'READ_ACCESS']] };
  const authorize = () => sdks.get(newest).call('authorize', session);
  assert.equal((await authorize()).status, 200);
  usher.command('apikey', 'revoke', id);
  assert.equal((await authorize()).status, 403);
});

test('while the database is down every version gets 503, and afterwards a token', async () => {
  const ask = (sdk) => sdk.call('authorize', { userId: 'ada', allow: [['acme:*', 'FULL_ACCESS']] });
  const postgres = await refuseConnections(usher.databaseUrl);
  try {
    for (const sdk of sdks.values()) {
      const { status, body } = await ask(sdk);
      assert.deepEqual([status, JSON.parse(body).error], [503, 'unavailable']);
    }
  } finally {
    await postgres.restore();
  }
  for (const sdk of sdks.values()) await until('a token', async () => (await ask(sdk)).status === 200);
});

test('above a rate limit every version gets 503, not a 403, which would stop clients', async () => {
  const limited = await startUsher({ flags: ['--rate-limit-api-key', '1'] });
  try {
    const session = { userId: 'ada', allow: [['acme:*', 'FULL_ACCESS']], secret: limited.apiKey, baseUrl: limited.url };
    assert.equal((await sdks.get(newest).call('authorize', session)).status, 200);
    for (const [version, sdk] of sdks) {
      const { status, body } = await sdk.call('authorize', session);
      assert.deepEqual([status, JSON.parse(body).error], [503, 'rate_limited'], version);
    }
  } finally {
    await limited.stop();
  }
});

test('the newest SDK’s tokens open rooms of the sync server to the newest client', async () => {
  const server = await startServer(usher);
  const clients = [];
  try {
    for (const [preset, canWrite] of [['FULL_ACCESS', true], ['READ_ACCESS', false]]) {
      const authEndpoint = async (room) => {
        const session = { userId: preset, options: { userInfo }, allow: [[room, preset]] };
        return JSON.parse((await sdks.get(newest).call('authorize', session)).body);
      };
      const client = recordingClient(createClient, { baseUrl: server.url, usher, user: 'ada', authEndpoint });
      clients.push(client);
      client.enter('acme:design:1');
      const { self } = await until(`${preset} in the room`, () => {
        const state = client.state('acme:design:1');
        return stands(state, 'connected') && state;
      });
      assert.deepEqual([self.id, self.canWrite, self.info], [preset, canWrite, userInfo]);
    }
  } finally {
    for (const client of clients) client.leave();
    await server.stop();
  }
});
