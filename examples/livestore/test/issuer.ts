// An issuer of usher's token format, for what a real usher refuses to produce:
// lives of seconds, forged signatures, a key that nobody has seen before.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

import { calculateJwkThumbprint, exportJWK, generateKeyPair, SignJWT, type JWK } from 'jose';

export type Issuer = Awaited<ReturnType<typeof startIssuer>>;

interface Key {
  kid: string;
  privateKey: CryptoKey;
  jwk: JWK;
}

async function newKey(): Promise<Key> {
  const { publicKey, privateKey } = await generateKeyPair('EdDSA');
  const jwk = await exportJWK(publicKey);
  const kid = await calculateJwkThumbprint(jwk);
  return { kid, privateKey, jwk: { ...jwk, kid, alg: 'EdDSA', use: 'sig' } };
}

interface Mint {
  sub?: string;
  sid?: string;
  stores: Record<string, 'full' | 'read'>;
  audience?: string;
  /** Seconds that the token is valid for. */
  life?: number;
  /** Seconds since it was issued. */
  age?: number;
}

/** Signs claims as usher does (docs/token.md). */
export function sign(key: { kid: string; privateKey: CryptoKey }, issuer: string, mint: Mint): Promise<string> {
  const { sub = 'ada', sid, stores, audience = 'livestore', life = 300, age = 0 } = mint;
  const iat = Math.floor(Date.now() / 1000) - age;
  return new SignJWT({ stores, ...(sid === undefined ? {} : { sid }) })
    .setProtectedHeader({ alg: 'EdDSA', kid: key.kid, typ: 'at+jwt' })
    .setIssuer(issuer)
    .setSubject(sub)
    .setAudience(audience)
    .setIssuedAt(iat)
    .setExpirationTime(iat + life)
    .setJti(crypto.randomUUID())
    .sign(key.privateKey);
}

export async function startIssuer() {
  const keys = [await newKey()];
  let fetches = 0;
  const server = createServer((_request, response) => {
    fetches++;
    response.setHeader('content-type', 'application/jwk-set+json');
    response.end(JSON.stringify({ keys: keys.map((key) => key.jwk) }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    issuer: url,
    jwksUrl: `${url}/.well-known/jwks.json`,
    mint: (mint: Mint) => sign(keys.at(-1)!, url, mint),
    /** Signs from now on with a key that no verifier has seen. */
    rotate: async () => void keys.push(await newKey()),
    fetches: () => fetches,
    close: () => new Promise((resolve) => server.close(resolve).closeAllConnections()),
  };
}

/** A key of one's own under a kid that is somebody else's. */
export async function forgedKey(kid: string) {
  return { ...(await newKey()), kid };
}
