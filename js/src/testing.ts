/**
 * An issuer for the tests of a sync backend: tokens in usher's format
 * (docs/token.md), signed with its own key and with a clock that the test moves.
 * It needs no usher, no network and no database.
 *
 *     const usher = await createTestIssuer({ audience: 'livestore' });
 *     const verifier = createVerifier(usher.verifierConfig);
 *     const token = await usher.issue({ stores: { acme_notes: 'full' } });
 *
 * For tests only: anyone can create such an issuer.
 */
import { calculateJwkThumbprint, exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWK } from 'jose';

import { permissionNames } from './scopes.js';
import type { VerifierConfig } from './verifier.js';

export interface TestIssuerOptions {
  /** The `iss` of its tokens (default: https://usher.example.test). */
  issuer?: string | undefined;
  /** The `aud` of its tokens: the name of the backend under test. */
  audience: string;
  /** The signature algorithm (default: EdDSA). */
  alg?: 'EdDSA' | 'ES256' | undefined;
  /**
   * The clock, in milliseconds (default: stopped at the time of the call).
   * `advance` moves it forward in both cases.
   */
  now?: (() => number) | undefined;
}

/** What a token says. Every field has a default; the default token gives access to nothing. */
export interface TestToken {
  /** The user id (default: alice). */
  user?: string | undefined;
  /** Room pattern to access. Adds the claims that Liveblocks' clients read. */
  rooms?: Readonly<Record<string, 'read' | 'full'>> | undefined;
  /** Store pattern to access. */
  stores?: Readonly<Record<string, 'read' | 'full'>> | undefined;
  /** The `aud` (default: the issuer's). Name another one to test that your backend refuses it. */
  audience?: string | undefined;
  /** Seconds from issue to expiry (default: 300). */
  lifetime?: number | undefined;
  /** Seconds since issue (default: 0). An age above the lifetime makes an expired token. */
  age?: number | undefined;
  /** The user's info, `ui`, in a token with rooms. */
  info?: Readonly<Record<string, unknown>> | undefined;
  /** The active organization, `org`. */
  organization?: string | undefined;
  /** The session, `sid`. */
  session?: string | undefined;
  /** Claims to add or replace; `undefined` removes one. */
  claims?: Readonly<Record<string, unknown>> | undefined;
  /** Header members other than `alg` to add or replace, such as another issuer's `kid`; `undefined` removes one. */
  header?: Readonly<Record<string, unknown>> | undefined;
}

export interface TestIssuer {
  readonly issuer: string;
  readonly audience: string;
  /**
   * Options for `createVerifier`: issuer, audience, and this issuer's clock and
   * keys. The keys go through the verifier's own fetching and caching.
   */
  readonly verifierConfig: VerifierConfig & { readonly now: () => number; readonly fetch: typeof globalThis.fetch };
  /** The public keys, as usher serves them at `/.well-known/jwks.json`. A new object after each `rotate`. */
  readonly jwks: { readonly keys: readonly JWK[] };
  /** Issues a token that the verifier accepts, unless the options say otherwise. */
  issue(token?: TestToken): Promise<string>;
  /** Issues the same token with a forged signature: by another key, but with this issuer's key id. */
  forge(token?: TestToken): Promise<string>;
  /** Signs with a new key from now on. The old one stays published, so its tokens stay valid. */
  rotate(): Promise<void>;
  /** The time of the clock, in milliseconds. */
  now(): number;
  /** Moves the clock forward by seconds. */
  advance(seconds: number): void;
}

/** Creates an issuer with one key. Rejects with a TypeError if the audience is missing. */
export async function createTestIssuer(options: TestIssuerOptions): Promise<TestIssuer> {
  const { issuer = 'https://usher.example.test', audience, alg = 'EdDSA' } = options;
  if (typeof audience !== 'string' || audience === '') throw new TypeError('createTestIssuer: audience is empty');
  const start = Date.now();
  const { now: clock = () => start } = options;
  let advanced = 0;
  let jwks: { readonly keys: readonly JWK[] } = { keys: [] };
  let key: Key;
  const now = () => clock() + advanced;

  async function rotate(): Promise<void> {
    key = await newKey(alg);
    jwks = { keys: [...jwks.keys, key.jwk] };
  }

  function sign(privateKey: CryptoKey, token: TestToken): Promise<string> {
    const { user = 'alice', rooms, stores, lifetime = 300, age = 0 } = token;
    const iat = Math.floor(now() / 1000) - age;
    const names = Object.entries(rooms ?? {}).map(([pattern, access]) => [pattern, permissionNames[access]]);
    return new SignJWT({
      iss: issuer,
      sub: user,
      aud: token.audience ?? audience,
      iat,
      exp: iat + lifetime,
      jti: crypto.randomUUID(),
      org: token.organization,
      sid: token.session,
      ...(rooms && { k: 'acc', pid: 'usher', uid: user, perms: Object.fromEntries(names), ui: token.info }),
      stores,
      ...token.claims,
    })
      .setProtectedHeader({ kid: key.jwk.kid, typ: 'at+jwt', ...token.header, alg })
      .sign(privateKey);
  }

  await rotate();
  return {
    issuer,
    audience,
    verifierConfig: {
      issuer,
      audience,
      jwks: new URL('/.well-known/jwks.json', issuer),
      now,
      fetch: async () => Response.json(jwks),
    },
    get jwks() {
      return jwks;
    },
    issue: (token = {}) => sign(key.privateKey, token),
    forge: async (token = {}) => sign((await newKey(alg)).privateKey, token),
    rotate,
    now,
    advance(seconds) {
      advanced += seconds * 1000;
    },
  };
}

interface Key {
  readonly jwk: JWK & { readonly kid: string };
  readonly privateKey: CryptoKey;
}

async function newKey(alg: 'EdDSA' | 'ES256'): Promise<Key> {
  const { publicKey, privateKey } = await generateKeyPair(alg);
  const jwk = await exportJWK(publicKey);
  return { jwk: { ...jwk, kid: await calculateJwkThumbprint(jwk), alg, use: 'sig' }, privateKey };
}
