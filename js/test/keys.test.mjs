import assert from 'node:assert/strict';
import { test } from 'node:test';

import { isBase64url } from '../dist/base64url.js';
import { readKeySet } from '../dist/keys.js';
import { keyVectors } from './keyvectors.mjs';
import { newKey } from './support.mjs';

test('the import rules of keys', async (t) => {
  for (const [name, keys, want] of keyVectors) {
    await t.test(name, () => {
      if (typeof want === 'string') assert.throws(() => readKeySet({ keys }), new RegExp(want));
      else assert.deepEqual([...readKeySet({ keys }).keys()], want);
    });
  }
});

test('a key has the algorithm that it names, or the one that it is made for', () => {
  const algOf = (jwk) => readKeySet({ keys: [jwk] }).get(jwk.kid).alg;
  for (const alg of ['EdDSA', 'Ed25519', 'ES256', 'RS256', 'PS256']) assert.equal(algOf(newKey(alg).jwk), alg);
  for (const alg of ['EdDSA', 'ES256', 'RS256']) assert.equal(algOf({ ...newKey(alg).jwk, alg: undefined }), alg);
});

test('no good Ed25519 or P-256 key is refused', () => {
  for (let i = 0; i < 200; i++) {
    const keys = [newKey('EdDSA').jwk, newKey('ES256').jwk];
    assert.equal(readKeySet({ keys }).size, 2, JSON.stringify(keys));
  }
});

test('what is no key set is refused', () => {
  for (const set of [undefined, null, [], 'x', {}, { keys: null }, { keys: {} }, { keys: 'x' }]) {
    assert.throws(() => readKeySet(set), /not a JSON Web Key Set/);
  }
});

test('base64url has one spelling for any bytes', () => {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  for (let length = 0; length < 70; length++) {
    const text = Buffer.from(crypto.getRandomValues(new Uint8Array(length))).toString('base64url');
    assert.ok(isBase64url(text), text);
    for (const wrong of [
      `${text}=`,
      `${text} `,
      `\n${text}`,
      `${text}\n`,
      `${text}\0`,
      `${text}é`,
      `${text}+`,
      `${text}/`,
    ]) {
      assert.ok(!isBase64url(wrong), JSON.stringify(wrong));
    }
  }
  // Every ending of one, two and three characters: it is one that an encoder writes, or refused.
  for (const a of alphabet) {
    assert.ok(!isBase64url(a));
    for (const b of alphabet) {
      for (const text of [a + b, `A${a}${b}`]) {
        assert.equal(isBase64url(text), Buffer.from(text, 'base64url').toString('base64url') === text, text);
      }
    }
  }
});
