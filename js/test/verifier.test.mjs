import assert from 'node:assert/strict';
import { test } from 'node:test';
import { accessTo, createVerifier, VerifyError } from '@usher-auth/sdk';

import { accessVectors, config, vectors } from './policy.mjs';
import { audience, goodClaims, issuer, newKey, start, verdict } from './support.mjs';

const key = newKey();
const jwks = { keys: [key.jwk] };
const now = () => start * 1000;

test('tokens are accepted or refused by the policy', async (t) => {
  const verifier = createVerifier(config);
  for (const [name, token, want] of vectors) {
    await t.test(name, async () => assert.equal(await verdict(verifier.verify(token)), want));
  }
});

test('an invalid configuration throws an error that names every mistake', () => {
  assert.throws(() => createVerifier({}), {
    name: 'TypeError',
    message: 'createVerifier: issuer is empty; audience is empty; jwks: is empty',
  });
  const good = { issuer, audience, jwks };
  for (const [change, fault] of [
    [{ issuer: '' }, /issuer is empty/],
    [{ issuer: [issuer] }, /issuer is empty/],
    [{ audience: '' }, /audience is empty/],
    [{ leeway: 61 }, /leeway/],
    [{ leeway: -1 }, /leeway/],
    [{ leeway: NaN }, /leeway/],
    [{ maxLifetime: 0 }, /maxLifetime/],
    [{ maxLifetime: Infinity }, /maxLifetime/],
    [{ cacheSize: -1 }, /cacheSize/],
    [{ cacheSize: 0.5 }, /cacheSize/],
    [{ jwks: '' }, /jwks: is empty/],
    [{ jwks: 'keys.json' }, /jwks: Invalid URL/],
    [{ jwks: 'http://usher.example.test/jwks.json' }, /jwks: must use https unless the host is this machine/],
    [{ jwks: 'http://localhost.evil.test/' }, /jwks: must use https unless the host is this machine/],
    [{ jwks: 'file:///etc/jwks.json' }, /jwks: must be an https URL/],
    [{ jwks: 'https://user@usher.example.test/' }, /jwks: must not hold a user name, password or fragment/],
    [{ jwks: {} }, /jwks: not a JSON Web Key Set/],
    [{ jwks: { keys: [] } }, /jwks: no usable key/],
    [{ jwks: { keys: [{ ...key.jwk, kid: undefined }] } }, /jwks: no usable key/],
  ]) {
    assert.throws(() => createVerifier({ ...good, ...change }), fault);
  }
  for (const url of [
    'http://localhost:8080/x',
    'http://127.0.0.1/x',
    'http://[::1]:1/x',
    new URL('https://a.test/x'),
  ]) {
    createVerifier({ ...good, jwks: url });
  }
  createVerifier({ ...good, jwks: 'http://usher:8080/.well-known/jwks.json', allowHTTP: true });
});

test('leeway and maxLifetime apply', async () => {
  const strict = createVerifier({ issuer, audience, jwks, now, leeway: 0, maxLifetime: 60 });
  assert.equal(await verdict(strict.verify(key.token({ exp: start + 60 }))), 'valid');
  assert.equal(await verdict(strict.verify(key.token({ exp: start + 61 }))), 'lifetime_too_long');
  assert.equal(await verdict(strict.verify(key.token({ iat: start - 10, exp: start }))), 'token_expired');
  assert.equal(await verdict(strict.verify(key.token({ iat: start + 1, exp: start + 61 }))), 'token_not_yet_valid');
});

test('claims are those of the token, and frozen', async () => {
  const verifier = createVerifier({ issuer, audience, jwks, now });
  const want = goodClaims({ perms: { 'acme:*': ['room:write'] }, ui: { name: 'José 🎉' }, stores: { notes: 'full' } });
  const claims = await verifier.verify(key.signRaw({ alg: 'EdDSA', kid: key.jwk.kid, typ: 'at+jwt' }, want));
  assert.deepEqual(claims, want);
  for (const change of [
    () => (claims.exp = Infinity),
    () => (claims.stores.other = 'full'),
    () => claims.perms['acme:*'].push('*:write'),
  ]) {
    assert.throws(change, TypeError);
  }
});

test('the message of a refusal reveals nothing about the token', async () => {
  const verifier = createVerifier(config);
  const messages = new Set();
  for (const [name, token] of vectors) {
    await verifier.verify(token).catch((error) => {
      assert.ok(error instanceof VerifyError, name);
      assert.equal(error.retryable, false);
      assert.equal(error.cause, undefined);
      messages.add(error.message);
    });
  }
  assert.deepEqual([...messages].sort(), ['invalid token', 'token expired']);
});

test('with a key set as an object, no token causes a fetch', async () => {
  const fetched = [];
  const real = globalThis.fetch;
  globalThis.fetch = async (url) => fetched.push(url);
  try {
    const verifier = createVerifier({ ...config, fetch: async (url) => fetched.push(url) });
    for (const [, token] of vectors) await verdict(verifier.verify(token));
  } finally {
    globalThis.fetch = real;
  }
  assert.deepEqual(fetched, []);
});

test('a missing algorithm of the platform is retryable', async (t) => {
  const unsupported = new DOMException('unrecognized algorithm', 'NotSupportedError');
  const importKey = t.mock.method(crypto.subtle, 'importKey', () => Promise.reject(unsupported));
  const verifier = createVerifier({ issuer, audience, jwks, now });
  const token = key.token();
  await assert.rejects(verifier.verify(token), { code: 'keys_unavailable', cause: unsupported });
  importKey.mock.restore();
  assert.equal(await verdict(verifier.verify(token)), 'valid');
});

test('verified tokens are cached up to a limit, and only while they are valid', async () => {
  let time = start;
  const verifier = createVerifier({ issuer, audience, jwks, cacheSize: 2, now: () => time * 1000 });
  const [a, b, c] = [key.token(), key.token(), key.token()];
  const first = { a: await verifier.verify(a), b: await verifier.verify(b) };
  assert.equal(await verifier.verify(a), first.a, 'the same object');
  await verifier.verify(c);
  assert.equal(await verifier.verify(a), first.a, 'used after b');
  assert.notEqual(await verifier.verify(b), first.b, 'the least recently used was dropped');

  time = start + 329;
  assert.equal(await verdict(verifier.verify(b)), 'valid');
  time = start + 330;
  assert.equal(await verdict(verifier.verify(b)), 'token_expired');
  time = start - 31;
  assert.equal(await verdict(verifier.verify(b)), 'token_not_yet_valid');
});

test('cacheSize 0 disables the cache', async () => {
  const verifier = createVerifier({ issuer, audience, jwks, now, cacheSize: 0 });
  const token = key.token();
  assert.notEqual(await verifier.verify(token), await verifier.verify(token));
});

test('authorize requires the access, or more', async () => {
  const verifier = createVerifier({ issuer, audience, jwks, now });
  const rank = ['none', 'read', 'full'];
  for (const [claims, resource, has] of accessVectors) {
    const token = key.token(claims);
    assert.equal(accessTo(await verifier.verify(token), resource), has, JSON.stringify([claims, resource]));
    for (const access of ['read', 'full']) {
      const want = rank.indexOf(has) >= rank.indexOf(access) ? 'valid' : 'forbidden';
      assert.equal(
        await verdict(verifier.authorize(token, { ...resource, access })),
        want,
        JSON.stringify([claims, resource, access]),
      );
    }
  }
  const refused = verifier.authorize('x.y.z', { room: 'acme:1', access: 'read' });
  assert.equal(await verdict(refused), 'token_malformed');
});

test('authorize throws for invalid arguments', async () => {
  const verifier = createVerifier({ issuer, audience, jwks, now });
  const token = key.token({ perms: { '*': ['room:write'] }, stores: { '*': 'full' } });
  for (const want of [
    {},
    { room: 'a' },
    { access: 'read' },
    { room: 'a', store: 'b', access: 'read' },
    { room: undefined, access: 'read' },
    { store: 7, access: 'read' },
    { room: 'a', access: 'none' },
    { room: 'a', access: 'FULL' },
  ]) {
    await assert.rejects(verifier.authorize(token, want), TypeError, JSON.stringify(want));
  }
});

test('accessTo requires exactly one resource', () => {
  for (const resource of [{}, { room: 'a', store: 'b' }, { room: 1 }, { store: null }]) {
    assert.throws(() => accessTo({ perms: {}, stores: {} }, resource), TypeError);
  }
});
