import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createVerifier } from '@usher-auth/sdk';
import { importJWK } from 'jose';

import { parseStrictJSON } from '../dist/json.js';
import { splitToken, verifySignature } from '../dist/jws.js';
import { readKeySet } from '../dist/keys.js';
import { inCheckout, newKey, readJSON, verdict } from './support.mjs';

for (const name of ['jwt_attacks.json', 'jwt_attacks_more.json']) {
  const path = inCheckout(`session/testdata/${name}`);
  test(name, async (t) => {
    const { iss, aud, jwks, leeway, now, vectors } = readJSON(path);
    const verifier = createVerifier({ issuer: iss, audience: aud, jwks, leeway, now: () => now * 1000 });
    const counts = { valid: 0, invalid: 0 };
    for (const { id, token, result } of vectors) {
      const got = await verdict(verifier.verify(token));
      assert.equal(got === 'valid' ? got : 'invalid', result, `${id}: ${got}`);
      counts[result]++;
    }
    t.diagnostic(`${vectors.length} tokens, 0 wrong: ${JSON.stringify(counts)}`);
    assert.ok(counts.valid > 0 && counts.invalid > 0);
  });
}

test('jwks_bad.json', (t) => {
  const { cases } = readJSON(inCheckout('session/testdata/jwks_bad.json'));
  const good = newKey().jwk;
  const read = (text) => [...readKeySet(parseStrictJSON(Buffer.from(text))).keys()];
  const counts = {};
  for (const { id, jwks, expect } of cases) {
    counts[expect] = (counts[expect] ?? 0) + 1;
    switch (expect) {
      case 'skip':
      case 'no-keys': {
        assert.throws(() => read(jwks), /no usable key/, id);
        // Only the key is left out, not the set.
        const { keys } = JSON.parse(jwks);
        assert.deepEqual(read(JSON.stringify({ keys: [...keys, good] })), [good.kid], id);
        break;
      }
      case 'skip-bad-keep-good':
        assert.deepEqual(read(jwks), ['g'], id);
        break;
      case 'refuse':
        assert.throws(() => read(jwks), /not a JSON Web Key Set|more than 64 keys/, id);
        break;
      case 'refuse-and-alert':
        assert.throws(() => read(jwks), /private key/, id);
        break;
      case 'keep-last-good-until-max-stale': // keysource.test.mjs has the keeping
        assert.throws(() => read(jwks), id);
        break;
      default:
        assert.fail(`${id}: expects ${expect}`);
    }
  }
  t.diagnostic(`${cases.length} key sets, 0 wrong: ${JSON.stringify(counts)}`);
  assert.equal(cases.length, 21);
});

/** The verdict of the layers below the policy of access tokens: form, key rules, algorithm, signature. */
async function isValid(jws, jwks) {
  try {
    const { alg, kid, ...others } = parseStrictJSON(splitToken(jws).header);
    if (Object.keys(others).length > 0) return false; // as the policy would
    await verifySignature(jws, alg, readKeySet(jwks).get(kid));
    return true;
  } catch {
    return false;
  }
}

const { exceptions } = readJSON(inCheckout('session/testdata/wycheproof_exceptions.json'));

for (const [name, want] of [
  ['json_web_signature_test.json', { valid: 14, invalid: 387, exceptions: 32 }],
  ['json_web_key_test.json', { valid: 2, invalid: 24, exceptions: 5 }],
]) {
  const path = inCheckout(`session/testdata/wycheproof/${name}`);
  test(`Wycheproof ${name}`, async (t) => {
    const excepted = new Map(
      exceptions.filter(({ file }) => file === name).flatMap(({ tcIds, verdict }) => tcIds.map((id) => [id, verdict])),
    );
    const counts = { valid: 0, invalid: 0, exceptions: excepted.size };
    for (const { public: publicKeys, private: privateKeys, tests } of readJSON(path).testGroups) {
      const set = publicKeys ?? privateKeys; // symmetric keys have no other half
      for (const { tcId, jws, result, comment } of tests) {
        const verdict = (await isValid(jws, set.keys ? set : { keys: [set] })) ? 'valid' : 'invalid';
        assert.equal(verdict, excepted.get(tcId) ?? result, `${tcId}: ${comment}`);
        counts[verdict]++;
      }
    }
    t.diagnostic(`${counts.valid + counts.invalid} vectors, 0 wrong: ${JSON.stringify(counts)}`);
    assert.deepEqual(counts, want);
  });
}

test('Wycheproof ed25519_test.json', async (t) => {
  let right = 0;
  for (const { publicKeyJwk, tests } of readJSON(inCheckout('session/testdata/wycheproof/ed25519_test.json')).testGroups) {
    const { alg, jwk } = readKeySet({ keys: [publicKeyJwk] }).get(publicKeyJwk.kid);
    const key = await importJWK(jwk, alg);
    for (const { tcId, msg, sig, result } of tests) {
      const [message, signature] = [msg, sig].map((hex) => Buffer.from(hex, 'hex'));
      const verifies = await crypto.subtle.verify('Ed25519', key, signature, message);
      assert.equal(verifies, result === 'valid', `${tcId}`);
      right++;
    }
  }
  t.diagnostic(`${right} of 151`);
  assert.equal(right, 151);
});

test('the RFC examples', async () => {
  const { rfc8037, rfc7638 } = readJSON(inCheckout('session/testdata/rfc_examples.json'));
  const jwks = {
    keys: [
      { ...rfc8037.jwk, kid: 'rfc8037' },
      { ...rfc7638.jwk, kid: 'rfc7638' },
    ],
  };
  const keys = readKeySet(jwks);
  assert.equal(keys.get('rfc7638').alg, 'RS256');
  await verifySignature(rfc8037.jws, 'EdDSA', keys.get('rfc8037'));
});
