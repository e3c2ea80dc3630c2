// Go and JavaScript give the same verdict on every vector and on thousands of
// random inputs.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { accessTo, createVerifier } from '@usher-auth/sdk';

import { parseStrictJSON } from '../dist/json.js';
import { kidShape, readKeySet } from '../dist/keys.js';
import { keyVectors } from './keyvectors.mjs';
import { accessVectors, config, vectors } from './policy.mjs';
import { goodClaims, inCheckout, newKey, readJSON, start, verdict } from './support.mjs';

const noGo = spawnSync('go', ['version']).error && 'skipped: there is no go program';

const rooms = [
  'acme:1',
  'acme:12',
  'acme:2',
  'acme',
  'beta:1',
  'any',
  'ACME:1',
  'acme:é',
  'a*',
  '',
  'a\n',
  'x'.repeat(128),
  'x'.repeat(129),
];
const stores = ['acme_notes', 'acme_tasks', 'acme', 'notes', 'Notes', 'any', 'a:b', 'acme:1', '', 'x'.repeat(129)];
const key = newKey();

function fixedSuites() {
  const suites = ['jwt_attacks.json', 'jwt_attacks_more.json']
    .map((name) => inCheckout(`session/testdata/${name}`))
    .map(readJSON)
    .map(({ iss, aud, now, leeway, jwks, vectors }) => ({
      issuer: iss,
      audience: aud,
      now,
      leeway,
      jwks,
      tokens: vectors.map(({ token }) => token),
    }));
  const { issuer, audience, jwks } = config;
  const policy = vectors.map(([, token]) => token).filter((token) => typeof token === 'string');
  return [...suites, { issuer, audience, now: start, leeway: 30, jwks, tokens: policy }];
}

/** Signed tokens with random claims and headers, and tokens with random changes. */
function randomSuite() {
  const { issuer, audience } = config;
  const name = fc.constantFrom(
    '*:write',
    '*:read',
    'room:write',
    'room:read',
    'room:presence:write',
    'comments:write',
    'comments:read',
    'storage:none',
    'storage:write',
    'x:read',
    'x',
    ':none',
    'room:none',
  );
  const pattern = fc.oneof(
    fc.constantFrom('*', 'acme:*', 'acme:1', 'acme*', 'acme_*', 'acme_notes', 'a*b', '', 'acme:é'),
    fc.string({ maxLength: 4 }),
  );
  const time = fc.oneof(
    fc.integer({ min: start - 4000, max: start + 4000 }),
    fc.constantFrom(start - 30, start + 30, start + 31, -1, 0, start + 0.5, 1e18, null, '1'),
  );
  const claims = fc.record(
    {
      iat: time,
      exp: time,
      nbf: time,
      aud: fc.oneof(fc.constant(audience), fc.array(fc.constantFrom(audience, 'other', 1), { maxLength: 3 })),
      sub: fc.oneof(fc.string(), fc.string({ unit: 'binary', maxLength: 130 }), fc.jsonValue({ maxDepth: 1 })),
      perms: fc.dictionary(pattern, fc.array(name, { maxLength: 4 }), { maxKeys: 4 }),
      stores: fc.dictionary(pattern, fc.constantFrom('full', 'read', 'none', 'Full'), { maxKeys: 4 }),
      k: fc.constantFrom('acc', 'id', ''),
      ui: fc.jsonValue({ maxDepth: 4 }),
      org: fc.jsonValue({ maxDepth: 1 }),
    },
    { requiredKeys: [] },
  );
  const any = fc.oneof(fc.constantFrom('iss', 'exp', 'PERMS', 'Exp', 'iſs', 'ı', 'x'), fc.string());
  const extra = fc.dictionary(any, fc.jsonValue({ maxDepth: 2 }), { maxKeys: 2 });
  const grown = fc.tuple(claims, fc.oneof({ weight: 4, arbitrary: fc.constant({}) }, { weight: 1, arbitrary: extra }));
  const signed = grown.map(([own, more]) =>
    key.signRaw({ alg: 'EdDSA', kid: key.jwk.kid, typ: 'at+jwt' }, goodClaims({ ...own, ...more })),
  );
  const plain = fc.record({
    perms: claims.map(({ perms = {} }) => perms),
    stores: claims.map(({ stores = {} }) => stores),
  });
  const tokens = [
    ...accessVectors.map(([own]) => key.token(own)),
    ...fc.sample(signed, 3000),
    ...fc.sample(plain, 1000).map((own) => key.token(own)),
    ...fc.sample(fc.tuple(signed, fc.nat(), fc.string({ maxLength: 2 })), 500).map(([token, at, text]) => {
      const cut = at % token.length;
      return token.slice(0, cut) + text + token.slice(cut + 1);
    }),
  ];
  return { issuer, audience, now: start, leeway: 30, jwks: { keys: [key.jwk] }, tokens };
}

function keySets() {
  const texts = [
    ...keyVectors.map(([, keys]) => JSON.stringify({ keys })),
    ...readJSON(inCheckout('session/testdata/jwks_bad.json')).cases.map(({ jwks }) => jwks),
  ];
  // Random changes of single bytes and lengths.
  const seeds = [newKey('EdDSA').jwk, newKey('ES256').jwk, newKey('RS256').jwk];
  const changed = fc.tuple(
    fc.constantFrom(...seeds),
    fc.constantFrom('x', 'y', 'n', 'e', 'kid', 'alg', 'use'),
    fc.nat(),
    fc.string({ maxLength: 1 }),
  );
  for (const [jwk, member, at, text] of fc.sample(changed, 500)) {
    const value = jwk[member] ?? '';
    const cut = at % (value.length + 1);
    texts.push(JSON.stringify({ keys: [{ ...jwk, [member]: value.slice(0, cut) + text + value.slice(cut + 1) }] }));
  }
  for (const bytes of fc.sample(fc.uint8Array({ minLength: 32, maxLength: 32 }), 500)) {
    texts.push(
      JSON.stringify({ keys: [{ kty: 'OKP', crv: 'Ed25519', kid: 'x', x: Buffer.from(bytes).toString('base64url') }] }),
    );
  }
  return texts.map((text) => Buffer.from(text));
}

function documents() {
  const suite = inCheckout('internal/strictjson/testdata/json-testsuite');
  const files = readdirSync(suite).map((name) => readFileSync(`${suite}/${name}`));
  const texts = fc.sample(fc.json({ maxDepth: 20 }), 1000);
  const damaged = fc
    .sample(fc.tuple(fc.json(), fc.nat(), fc.uint8Array({ maxLength: 3 })), 2000)
    .map(([text, at, bytes]) => {
      const before = Buffer.from(text);
      const cut = at % (before.length + 1);
      return Buffer.concat([before.subarray(0, cut), bytes, before.subarray(cut + 1)]);
    });
  return [...files, ...texts.map((text) => Buffer.from(text)), ...damaged];
}

async function verdicts({ issuer, audience, now, leeway, jwks, tokens }) {
  const verifier = createVerifier({ issuer, audience, leeway, jwks, now: () => now * 1000 });
  const all = [];
  for (const token of tokens) {
    const code = await verdict(verifier.verify(token));
    if (code !== 'valid') {
      all.push({ Code: code, Rooms: null, Stores: null });
      continue;
    }
    const claims = await verifier.verify(token);
    all.push({
      Code: '',
      Rooms: rooms.map((room) => accessTo(claims, { room })),
      Stores: stores.map((store) => accessTo(claims, { store })),
    });
  }
  return all;
}

function usableKeys(bytes) {
  try {
    const keys = [...readKeySet(parseStrictJSON(bytes))];
    return keys.map(([kid, { alg }]) => `${kid} ${alg}`).sort();
  } catch {
    return null;
  }
}

/** Go keeps keys whose kid is not allowed in tokens; JavaScript leaves them out. Neither uses them. */
function nameable(keys) {
  const named = (keys ?? []).filter((key) => kidShape.test(key.slice(0, key.lastIndexOf(' '))));
  return named.length > 0 ? named.sort() : null;
}

function isStrict(bytes) {
  try {
    parseStrictJSON(bytes);
    return true;
  } catch {
    return false;
  }
}

test('Go and JavaScript agree', { skip: noGo }, async (t) => {
  const suites = [...fixedSuites(), randomSuite()];
  const [sets, texts] = [keySets(), documents()];
  const { status, stdout, stderr } = spawnSync('go', ['run', './js/test/parity'], {
    cwd: inCheckout(''),
    input: JSON.stringify({
      suites: suites.map((suite) => ({ ...suite, rooms, stores })),
      keySets: sets.map((bytes) => bytes.toString('base64')),
      documents: texts.map((bytes) => bytes.toString('base64')),
    }),
    maxBuffer: 1 << 28,
  });
  assert.equal(status, 0, `${stderr}`);
  const go = JSON.parse(stdout);

  const differ = [];
  let accepted = 0;
  for (const [i, suite] of suites.entries()) {
    for (const [j, ours] of (await verdicts(suite)).entries()) {
      accepted += ours.Code === '';
      if (JSON.stringify(ours) !== JSON.stringify(go.Suites[i][j]))
        differ.push({ token: suite.tokens[j], ours, go: go.Suites[i][j] });
    }
  }
  for (const [i, bytes] of sets.entries()) {
    const ours = usableKeys(bytes);
    const theirs = nameable(go.KeySets[i]);
    if (JSON.stringify(ours) !== JSON.stringify(theirs)) differ.push({ keySet: `${bytes}`, ours, theirs });
  }
  for (const [i, bytes] of texts.entries()) {
    const ours = isStrict(bytes);
    if (ours !== go.Documents[i]) differ.push({ document: bytes.toString('latin1'), ours, go: go.Documents[i] });
  }
  const tokens = suites.reduce((sum, suite) => sum + suite.tokens.length, 0);
  t.diagnostic(
    `${tokens} tokens (${accepted} accepted), ${sets.length} key sets, ${texts.length} documents: ${differ.length} differ`,
  );
  assert.deepEqual(differ.slice(0, 5), []);
});
