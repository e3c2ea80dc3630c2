import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createVerifier } from '@usher-auth/sdk';

import { audience, goodClaims, issuer, newKey, start, verdict } from './support.mjs';

const keys = ['EdDSA', 'ES256', 'RS256', 'PS256'].map((alg) => newKey(alg));
const now = () => start * 1000;
const verifier = createVerifier({ issuer, audience, jwks: { keys: keys.map((key) => key.jwk) }, now });

test('an accepted token with a changed byte is refused', async () => {
  for (const key of keys) {
    const token = key.token({ perms: { 'acme:*': ['room:write'] } });
    assert.equal(await verdict(verifier.verify(token)), 'valid');
    let accepted = 0;
    for (let i = 0; i <= token.length; i++) {
      const [before, byte, after] = [token.slice(0, i), token.charCodeAt(i), token.slice(i + 1)];
      for (const changed of [
        before + String.fromCharCode(byte ^ 1) + after,
        before + String.fromCharCode((byte + 1) % 128) + after,
        before + 'A' + token.slice(i), // inserted
        before + '=' + token.slice(i),
        before + after, // deleted
        before, // cut
      ]) {
        if (changed !== token && (await verdict(verifier.verify(changed))) === 'valid') accepted++;
      }
    }
    assert.equal(accepted, 0, key.jwk.alg);
  }
});

test('random text is refused with a code', async () => {
  const [header, payload, signature] = keys[0].token().split('.');
  const part = fc.oneof(fc.base64String(), fc.string(), fc.constantFrom(header, payload, signature, '', 'e30'));
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.array(part, { maxLength: 5 }).map((parts) => parts.join('.')),
  );
  await fc.assert(
    fc.asyncProperty(text, async (token) => {
      fc.pre(token !== `${header}.${payload}.${signature}`);
      assert.notEqual(await verdict(verifier.verify(token)), 'valid');
    }),
    { numRuns: 5_000 },
  );
});

test('any JSON as header or payload is accepted, or refused with a code', async () => {
  const [key] = keys;
  const header = { alg: key.jwk.alg, kid: key.jwk.kid, typ: 'at+jwt' };
  const value = fc.jsonValue({ maxDepth: 3 });
  const changes = (names) => fc.dictionary(fc.oneof(fc.constantFrom(...names), fc.string()), value, { maxKeys: 3 });
  await fc.assert(
    fc.asyncProperty(
      changes(['alg', 'kid', 'typ', 'crit']),
      changes(['iss', 'aud', 'sub', 'jti', 'iat', 'exp', 'nbf', 'perms', 'stores', 'ui', 'k']),
      async (headerChanges, claimChanges) => {
        const got = await verdict(
          verifier.verify(key.signRaw({ ...header, ...headerChanges }, goodClaims(claimChanges))),
        );
        if (Object.keys(headerChanges).length > 0) assert.notEqual(got, 'valid');
      },
    ),
    { numRuns: 5_000 },
  );
});
