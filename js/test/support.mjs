// Shared by the tests: paths and a signer of tokens.

import { createPrivateKey, generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The package's directory. */
export const packageDir = fileURLToPath(new URL('..', import.meta.url));

/** A path in the checkout. */
export const inCheckout = (path) => fileURLToPath(new URL(`../../${path}`, import.meta.url));

export const readJSON = (path) => JSON.parse(readFileSync(path, 'utf8'));

export const issuer = 'https://usher.example.test';
export const audience = 'livestore';
export const start = 1_800_000_000; // seconds: the time in most tests

/** Liveblocks' names for each access, as usher writes them. */
export const full = ['room:write', 'comments:write'];
export const read = ['room:read', 'room:presence:write', 'comments:read'];

const base64url = (value) =>
  Buffer.from(typeof value === 'string' || value instanceof Uint8Array ? value : JSON.stringify(value)).toString(
    'base64url',
  );

const generators = {
  EdDSA: () => generateKeyPairSync('ed25519'),
  ES256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  RS256: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
};
generators.Ed25519 = generators.EdDSA;
generators.PS256 = generators.RS256;

/** A signing key: its public JWK, and tokens signed with it. */
export function newKey(alg = 'EdDSA', kid = `${alg}-${randomUUID()}`) {
  const { publicKey, privateKey } = generators[alg]();
  return keyOf(alg, { ...publicKey.export({ format: 'jwk' }), kid, alg, use: 'sig' }, privateKey);
}

function keyOf(alg, jwk, privateKey) {
  const signBytes = (input) => {
    const hash = alg === 'EdDSA' || alg === 'Ed25519' ? null : 'sha256';
    const padding = alg === 'PS256' ? { padding: 6, saltLength: 32 } : {};
    return sign(hash, Buffer.from(input), { key: privateKey, dsaEncoding: 'ieee-p1363', ...padding });
  };
  return {
    jwk,
    /** Signs any header and payload, given as text, object or bytes, unchanged. */
    signRaw(header, payload) {
      const input = `${base64url(header)}.${base64url(payload)}`;
      return `${input}.${signBytes(input).toString('base64url')}`;
    },
    /** A valid token with changes; undefined removes a name. */
    token(claims = {}, header = {}) {
      return this.signRaw({ alg, kid: jwk.kid, typ: 'at+jwt', ...header }, goodClaims(claims));
    },
  };
}

/** The claims of a valid token with changes. */
export function goodClaims(changes = {}) {
  return { iss: issuer, aud: audience, sub: 'alice', iat: start, exp: start + 300, jti: randomUUID(), ...changes };
}

/** A signing key from a private JWK of a test vector. */
export function vectorKey(jwk) {
  const { d, ...publicJWK } = jwk;
  return keyOf(jwk.alg, publicJWK, createPrivateKey({ key: jwk, format: 'jwk' }));
}

/** Resolves to the code of the refusal, or "valid". Other errors reject. */
export async function verdict(promise) {
  try {
    await promise;
    return 'valid';
  } catch (error) {
    if (error.name !== 'VerifyError') throw error;
    return error.code;
  }
}
