import assert from 'node:assert/strict';
import { test } from 'node:test';

import { isBase64url } from '../dist/base64url.js';
import { readKeySet } from '../dist/keys.js';
import { keyVectors } from './keyvectors.mjs';
import { newKey } from './support.mjs';

test('keys are imported or refused by the rules', async (t) => {
  for (const [name, keys, want] of keyVectors) {
    await t.test(name, () => {
      if (typeof want === 'string') assert.throws(() => readKeySet({ keys }), new RegExp(want));
      else assert.deepEqual([...readKeySet({ keys }).keys()], want);
    });
  }
});

test('a key has the algorithm that it names, or else the default of its type', () => {
  const algOf = (jwk) => readKeySet({ keys: [jwk] }).get(jwk.kid).alg;
  for (const alg of ['EdDSA', 'Ed25519', 'ES256', 'RS256', 'PS256']) assert.equal(algOf(newKey(alg).jwk), alg);
  for (const alg of ['EdDSA', 'ES256', 'RS256']) assert.equal(algOf({ ...newKey(alg).jwk, alg: undefined }), alg);
});

test('valid Ed25519 and P-256 keys are accepted', () => {
  for (let i = 0; i < 200; i++) {
    const keys = [newKey('EdDSA').jwk, newKey('ES256').jwk];
    assert.equal(readKeySet({ keys }).size, 2, JSON.stringify(keys));
  }
});

test('anything but a key set is refused', () => {
  for (const set of [undefined, null, [], 'x', {}, { keys: null }, { keys: {} }, { keys: 'x' }]) {
    assert.throws(() => readKeySet(set), /not a JSON Web Key Set/);
  }
});

test('only canonical base64url is accepted', () => {
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
  // Every ending of one, two and three characters: accepted only if an encoder writes it.
  for (const a of alphabet) {
    assert.ok(!isBase64url(a));
    for (const b of alphabet) {
      for (const text of [a + b, `A${a}${b}`]) {
        assert.equal(isBase64url(text), Buffer.from(text, 'base64url').toString('base64url') === text, text);
      }
    }
  }
});
