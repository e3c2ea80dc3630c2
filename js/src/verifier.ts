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

/** What a verifier accepts. The first three have no default: an empty one is an error. */
export interface VerifierConfig {
  /** The `iss` of the tokens: usher's public URL, byte for byte. */
  issuer: string;
  /** This backend's own name among usher's audiences. */
  audience: string;
  /** usher's key set: its URL, or the set itself where it is to stay as it is. */
  jwks: string | URL | JWKSet;
  /**
   * Allows the key set's URL to be plain http to another host than this one.
   * Who can change what passes between them can then forge tokens.
   */
  allowHTTP?: boolean | undefined;
  /** Seconds of clock difference to forgive, 0 to 60; 30 where absent. */
  leeway?: number | undefined;
  /** Seconds that a token may be valid for; 3600 where absent. */
  maxLifetime?: number | undefined;
  /** How many verified tokens are remembered, so that the next look costs no cryptography; 1000 where absent. */
  cacheSize?: number | undefined;
  /** The time in milliseconds; `Date.now` where absent. */
  now?: (() => number) | undefined;
  /** Fetches the key set; the global `fetch` where absent. */
  fetch?: typeof globalThis.fetch | undefined;
}

/** A resource, and the least access that will do. */
export type Want = Resource & { readonly access: 'read' | 'full' };

/** Verifies the tokens of one issuer for one audience. Make one and keep it: it holds the keys. */
export interface Verifier {
  /** Resolves to the claims of a good token; rejects with a {@link VerifyError} for any other. */
  verify(token: string): Promise<Claims>;
  /** As `verify`, and rejects with code `forbidden` where the token does not give the access wanted. */
  authorize(token: string, want: Want): Promise<Claims>;
}

/** Returns a verifier, or throws a TypeError that names every fault of the configuration. */
export function createVerifier(config: VerifierConfig): Verifier {
  const { issuer, audience, leeway = 30, maxLifetime = 3600, cacheSize = 1000, now = Date.now } = config;
  const faults: string[] = [];
  const must = (good: boolean, fault: string) => good || faults.push(fault);
  must(typeof issuer === 'string' && issuer !== '', 'issuer is empty');
  must(typeof audience === 'string' && audience !== '', 'audience is empty');
  must(leeway >= 0 && leeway <= 60, 'leeway is not from 0 to 60 seconds');
  must(maxLifetime > 0 && maxLifetime < Infinity, 'maxLifetime is not a number of seconds');
  must(Number.isSafeInteger(cacheSize) && cacheSize >= 0, 'cacheSize is not a whole number');
  let keys!: KeySource;
  try {
    keys = keySource(config, now);
  } catch (error) {
    faults.push(`jwks: ${(error as Error).message}`);
  }
  if (faults.length > 0) throw new TypeError(`createVerifier: ${faults.join('; ')}`);

  const rules = { issuer, audience, leeway, maxLifetime };
  // The least recently used comes first. An entry serves while the key set that
  // verified it is the current one: a removed key takes its tokens along.
  const remembered = new Map<string, { claims: Claims; set: KeyMap }>();

  function remember(token: string, claims: Claims, set: KeyMap): void {
    remembered.delete(token);
    remembered.set(token, { claims, set });
    if (remembered.size > cacheSize) remembered.delete(remembered.keys().next().value!);
  }

  async function verify(token: string): Promise<Claims> {
    const known = remembered.get(token);
    if (known && known.set === (await keys.current())) {
      checkTimes(known.claims, now() / 1000, leeway);
      remember(token, known.claims, known.set);
      return known.claims;
    }
    const { header, payload } = splitToken(token);
    const { kid, alg } = readHeader(header);
    let set = await keys.current();
    if (!set.has(kid)) set = await keys.refetch();
    await verifySignature(token, alg, set.get(kid));
    const claims = readClaims(parseObject(payload), rules);
    checkTimes(claims, now() / 1000, leeway);
    remember(token, claims, set);
    return claims;
  }

  return {
    verify,

    async authorize(token, want) {
      if (want.access !== 'read' && want.access !== 'full') throw new TypeError('access is neither "read" nor "full"');
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
  if (url.protocol !== 'https:' && url.protocol !== 'http:') throw new Error('is no https URL');
  if (url.protocol === 'http:' && !loopback && !allowHTTP) throw new Error('is http to another host');
  if (url.username || url.password || url.hash) throw new Error('has a password or a fragment');
  return remoteKeys(url.href, fetchImpl ?? ((input, init) => fetch(input, init)), now);
}
