import assert from 'node:assert/strict';
import { test } from 'node:test';

import { accessTo, createVerifier } from '@usher-auth/sdk';
import { livestoreAuth } from '@usher-auth/sdk/livestore';
import { createTestIssuer } from '@usher-auth/sdk/testing';
import { decodeJwt, decodeProtectedHeader } from 'jose';

import { inCheckout, readJSON, start, verdict } from './support.mjs';

const audience = 'livestore';
const stores = { acme_notes: 'full' };

for (const alg of ['EdDSA', 'ES256']) {
  test(`${alg}: good tokens are accepted, every kind of bad one is refused by its code`, async () => {
    const usher = await createTestIssuer({ audience, alg });
    const verifier = createVerifier(usher.verifierConfig);
    for (const [name, token, want] of [
      ['the default', usher.issue(), 'valid'],
      ['a store', usher.issue({ stores }), 'valid'],
      ['rooms', usher.issue({ rooms: { 'acme:*': 'read' }, info: { name: 'Ada' } }), 'valid'],
      ['an organization and a session', usher.issue({ organization: 'acme', session: 's1' }), 'valid'],
      ['expired', usher.issue({ stores, age: 600 }), 'token_expired'],
      ['expired by its lifetime', usher.issue({ stores, age: 60, lifetime: 20 }), 'token_expired'],
      ['from the future', usher.issue({ stores, age: -600 }), 'token_not_yet_valid'],
      ['for another audience', usher.issue({ stores, audience: 'other' }), 'audience_mismatch'],
      ['from another issuer', usher.issue({ claims: { iss: 'https://evil.example.test' } }), 'issuer_mismatch'],
      ['too long', usher.issue({ lifetime: 3601 }), 'lifetime_too_long'],
      ['without a claim', usher.issue({ claims: { sub: undefined } }), 'claims_invalid'],
      ['of another type', usher.issue({ header: { typ: 'JWT' } }), 'type_mismatch'],
      ['of an unknown key', usher.issue({ header: { kid: 'unknown' } }), 'key_unknown'],
      ['forged', usher.forge({ stores }), 'signature_invalid'],
    ]) {
      assert.equal(await verdict(verifier.verify(await token)), want, name);
    }
  });
}

test('a token gives the access that it was issued with', async () => {
  const usher = await createTestIssuer({ audience });
  const claims = await createVerifier(usher.verifierConfig).verify(
    await usher.issue({ user: 'ada', rooms: { 'acme:*': 'read', 'acme:1': 'full' }, stores }),
  );
  assert.equal(claims.sub, 'ada');
  assert.equal(accessTo(claims, { room: 'acme:1' }), 'full');
  assert.equal(accessTo(claims, { room: 'acme:2' }), 'read');
  assert.equal(accessTo(claims, { store: 'acme_notes' }), 'full');
  assert.equal(accessTo(claims, { store: 'other' }), 'none');
});

test('tokens have the shape of usher’s own', async () => {
  const usher = await createTestIssuer({ audience });
  const golden = readJSON(inCheckout('session/testdata/golden_tokens.json'));
  const shared = { organization: 'acme', session: 's1' };
  for (const [name, token] of [
    ['room', { rooms: { 'acme:design:*': 'full', 'acme:*': 'read' }, info: { name: 'Ada' }, ...shared }],
    ['store', { stores, ...shared }],
  ]) {
    const text = await usher.issue(token);
    const { header, payload } = golden[name];
    const names = (object) => Object.keys(object).sort();
    assert.deepEqual(names(decodeProtectedHeader(text)), names(header));
    assert.deepEqual(names(decodeJwt(text)), names(payload), name);
    if (payload.perms) assert.deepEqual(decodeJwt(text).perms, payload.perms);
  }
});

test('time moves only as the test says', async () => {
  const usher = await createTestIssuer({ audience, now: () => start * 1000 });
  const verifier = createVerifier(usher.verifierConfig);
  assert.equal(usher.now(), start * 1000);
  const token = await usher.issue({ stores });
  usher.advance(329);
  assert.equal(await verdict(verifier.verify(token)), 'valid');
  usher.advance(1);
  assert.equal(await verdict(verifier.verify(token)), 'token_expired');
  assert.equal(decodeJwt(await usher.issue()).iat, start + 330);

  const still = await createTestIssuer({ audience });
  const began = still.now();
  await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(still.now(), began);
});

test('a new key is found, and the tokens of the old one stay valid', async () => {
  const usher = await createTestIssuer({ audience });
  const verifier = createVerifier(usher.verifierConfig);
  const old = await usher.issue();
  assert.equal(await verdict(verifier.verify(old)), 'valid');
  await usher.rotate();
  const token = await usher.issue();
  assert.notEqual(decodeProtectedHeader(token).kid, decodeProtectedHeader(old).kid);
  usher.advance(31); // a verifier asks for unknown keys every 30 s
  assert.equal(await verdict(verifier.verify(token)), 'valid');
  assert.equal(await verdict(verifier.verify(old)), 'valid');
});

test('the key set holds public keys alone and fits a verifier that is given it as an object', async () => {
  const usher = await createTestIssuer({ audience });
  const { issuer, now } = usher;
  const verifier = createVerifier({ issuer, audience, jwks: JSON.parse(JSON.stringify(usher.jwks)), now });
  assert.equal(await verdict(verifier.verify(await usher.issue())), 'valid');
});

test('LiveStore’s hooks run by its clock', async () => {
  const usher = await createTestIssuer({ audience });
  const { validatePayload } = livestoreAuth(createVerifier(usher.verifierConfig), { now: usher.now });
  const payload = { authToken: await usher.issue({ stores: { acme_notes: 'read' } }) };
  await validatePayload(payload, { storeId: 'acme_notes' });
  usher.advance(300);
  await assert.rejects(validatePayload(payload, { storeId: 'acme_notes' }), { code: 'token_expired' });
});

test('without an audience there is no issuer', async () => {
  await assert.rejects(createTestIssuer({}), { name: 'TypeError', message: 'createTestIssuer: audience is empty' });
  await assert.rejects(createTestIssuer({ audience: '' }), /audience is empty/);
});
