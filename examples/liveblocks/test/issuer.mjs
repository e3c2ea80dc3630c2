// Tokens in usher's format (docs/token.md) from a key of the test's own, for
// what a real usher refuses to issue: a life of seconds, a false signature.
import { calculateJwkThumbprint, exportJWK, generateKeyPair, SignJWT } from 'jose';

const issuer = 'https://usher.example.test';
const audience = 'liveblocks';

export async function newIssuer() {
  const { publicKey, privateKey } = await generateKeyPair('EdDSA');
  const jwk = await exportJWK(publicKey);
  const kid = await calculateJwkThumbprint(jwk);
  return {
    /** What a verifier of its tokens is made of. */
    config: { issuer, audience, jwks: { keys: [{ ...jwk, kid, alg: 'EdDSA', use: 'sig' }] } },
    /** Issues a token for one room at a time, in seconds: FULL, where no names say otherwise. */
    mint: (options) => sign(privateKey, kid, claims(options)),
  };
}

/** Signs with a key of one's own under a kid that is somebody else's. */
export async function forge(kid, payload) {
  const { privateKey } = await generateKeyPair('EdDSA');
  return sign(privateKey, kid, payload);
}

/** A token without a signature that says so. */
export const unsigned = (header, payload) => `${encode({ ...header, alg: 'none' })}.${encode(payload)}.`;

const encode = (object) => Buffer.from(JSON.stringify(object)).toString('base64url');

function sign(key, kid, payload) {
  return new SignJWT(payload).setProtectedHeader({ alg: 'EdDSA', kid, typ: 'at+jwt' }).sign(key);
}

function claims({ room, at, life, names = ['room:write', 'comments:write'] }) {
  const registered = { iss: issuer, aud: audience, sub: 'ada', iat: at, exp: at + life, jti: crypto.randomUUID() };
  return { ...registered, k: 'acc', pid: 'usher', uid: 'ada', perms: { [room]: names } };
}
