import { accessTo, checkTimes, readClaims, type Claims, type Resource } from './claims.js';
import { VerifyError } from './errors.js';
import { parseObject, readHeader, splitToken, verifySignature } from './jws.js';
import type { KeyMap } from './keys.js';
import { remoteKeys, staticKeys, type KeySource } from './keysource.js';
import { atLeast } from './permissions.js';

/** A JSON Web Key Set (RFC 7517) as an object. */
export interface JWKSet {
  readonly keys: readonly object[];
}

/** What a verifier accepts. The first three are required. */
export interface VerifierConfig {
  /** The `iss` of the tokens: exactly usher's public URL. */
  issuer: string;
  /** This backend's name among usher's audiences. */
  audience: string;
  /** usher's key set: its URL, or the set itself, which is then never refreshed. */
  jwks: string | URL | JWKSet;
  /**
   * Allows a plain http URL of another host (default: false). Anyone who can
   * modify the traffic to that host can then forge tokens.
   */
  allowHTTP?: boolean | undefined;
  /** Allowed clock difference in seconds, 0 to 60 (default: 30). */
  leeway?: number | undefined;
  /** Maximum lifetime of a token in seconds (default: 3600). */
  maxLifetime?: number | undefined;
  /** Maximum number of cached tokens, which need no cryptography when seen again (default: 1000). */
  cacheSize?: number | undefined;
  /** The time in milliseconds (default: `Date.now`). */
  now?: (() => number) | undefined;
  /** Fetches the key set (default: the global `fetch`). */
  fetch?: typeof globalThis.fetch | undefined;
}

/** A resource, and the required access. */
export type Want = Resource & { readonly access: 'read' | 'full' };

/** Verifies the tokens of one issuer for one audience. Create one per process: it holds the keys. */
export interface Verifier {
  /** Resolves to the claims of a valid token; rejects with a {@link VerifyError} for any other. */
  verify(token: string): Promise<Claims>;
  /** Like `verify`, and rejects with code `forbidden` if the token does not give the required access. */
  authorize(token: string, want: Want): Promise<Claims>;
}

/** Returns a verifier, or throws a TypeError that names every mistake in the configuration. */
export function createVerifier(config: VerifierConfig): Verifier {
  const { issuer, audience, leeway = 30, maxLifetime = 3600, cacheSize = 1000, now = Date.now } = config;
  const faults: string[] = [];
  const must = (good: boolean, fault: string) => good || faults.push(fault);
  must(typeof issuer === 'string' && issuer !== '', 'issuer is empty');
  must(typeof audience === 'string' && audience !== '', 'audience is empty');
  must(leeway >= 0 && leeway <= 60, 'leeway must be 0 to 60 seconds');
  must(maxLifetime > 0 && maxLifetime < Infinity, 'maxLifetime must be a positive number of seconds');
  must(Number.isSafeInteger(cacheSize) && cacheSize >= 0, 'cacheSize must be a whole number');
  let keys!: KeySource;
  try {
    keys = keySource(config, now);
  } catch (error) {
    faults.push(`jwks: ${(error as Error).message}`);
  }
  if (faults.length > 0) throw new TypeError(`createVerifier: ${faults.join('; ')}`);

  const rules = { issuer, audience, leeway, maxLifetime };
  // The least recently used entry comes first. An entry is valid while the key
  // set that verified it is current: removing a key removes its tokens.
  const cached = new Map<string, { claims: Claims; set: KeyMap }>();

  function cache(token: string, claims: Claims, set: KeyMap): void {
    cached.delete(token);
    cached.set(token, { claims, set });
    if (cached.size > cacheSize) cached.delete(cached.keys().next().value!);
  }

  async function verify(token: string): Promise<Claims> {
    const known = cached.get(token);
    if (known && known.set === (await keys.current())) {
      checkTimes(known.claims, now() / 1000, leeway);
      cache(token, known.claims, known.set);
      return known.claims;
    }
    const { header, payload } = splitToken(token);
    const { kid, alg } = readHeader(header);
    let set = await keys.current();
    if (!set.has(kid)) set = await keys.refetch();
    await verifySignature(token, alg, set.get(kid));
    const claims = readClaims(parseObject(payload), rules);
    checkTimes(claims, now() / 1000, leeway);
    cache(token, claims, set);
    return claims;
  }

  return {
    verify,

    async authorize(token, want) {
      if (want.access !== 'read' && want.access !== 'full') throw new TypeError('authorize: access must be "read" or "full"');
      const claims = await verify(token);
      if (!atLeast(accessTo(claims, want), want.access)) throw new VerifyError('forbidden');
      return claims;
    },
  };
}

function keySource({ jwks, fetch: fetchImpl, allowHTTP }: VerifierConfig, now: () => number): KeySource {
  if (!jwks) throw new Error('is empty');
  if (typeof jwks !== 'string' && !(jwks instanceof URL)) return staticKeys(jwks);
  const url = new URL(jwks);
  const loopback = /^(localhost|127(\.\d+){3}|\[::1\])$/.test(url.hostname);
  if (url.protocol !== 'https:' && url.protocol !== 'http:') throw new Error('must be an https URL');
  if (url.protocol === 'http:' && !loopback && !allowHTTP) throw new Error('must use https unless the host is this machine; allowHTTP allows http');
  if (url.username || url.password || url.hash) throw new Error('must not hold a user name, password or fragment');
  return remoteKeys(url.href, fetchImpl ?? ((input, init) => fetch(input, init)), now);
}
