import { VerifyError } from './errors.js';
import { isObject } from './json.js';
import { access, checkStoreId, matches, parsePattern, type Access, type Pattern } from './permissions.js';
import { baseOf, lowersFeature } from './scopes.js';

/**
 * The claims of a verified token (docs/token.md). Deeply frozen: all calls that
 * verify the same token return the same object.
 */
export interface Claims {
  readonly iss: string;
  readonly aud: string | readonly string[];
  readonly sub: string;
  readonly jti: string;
  /** Seconds since 1970, like `exp` and `nbf`. */
  readonly iat: number;
  readonly exp: number;
  readonly nbf?: number;
  /** Liveblocks' claims: kind, project, user, room permissions, user info. */
  readonly k?: string;
  readonly pid?: string;
  readonly uid?: string;
  readonly perms?: Readonly<Record<string, readonly string[]>>;
  readonly ui?: Readonly<Record<string, unknown>>;
  /** Store pattern to `full` or `read`. */
  readonly stores?: Readonly<Record<string, string>>;
  /** The active organization of the session. */
  readonly org?: string;
  /** A salted hash of the caller's session, for revocation. */
  readonly sid?: string;
  readonly [name: string]: unknown;
}

/** One room or one store. */
export type Resource =
  { readonly room: string; readonly store?: undefined } | { readonly store: string; readonly room?: undefined };

/** What the claims are checked against. */
export interface Rules {
  readonly issuer: string;
  readonly audience: string;
  readonly leeway: number;
  readonly maxLifetime: number;
}

const lastTime = 253402300799; // the end of the year 9999

/** Reads the payload of a token whose signature is valid. Throws a {@link VerifyError}. */
export function readClaims(payload: Record<string, unknown>, rules: Rules): Claims {
  if (payload.iss !== rules.issuer) throw new VerifyError('issuer_mismatch');
  const audiences = Array.isArray(payload.aud) ? payload.aud : [payload.aud];
  if (!audiences.every(isString) || !audiences.includes(rules.audience)) throw new VerifyError('audience_mismatch');
  const { iat, exp, nbf } = payload;
  const wellFormed =
    isId(payload.sub, 384) && // a user id: 128 UTF-16 units, 3 bytes each at most
    isId(payload.jti, 255) &&
    isTime(iat) &&
    isTime(exp) &&
    (nbf === undefined || isTime(nbf)) &&
    exp > iat &&
    optionalClaims.every(([name, check]) => payload[name] === undefined || check(payload[name]));
  if (!wellFormed) throw new VerifyError('claims_invalid');
  if (exp - iat > rules.maxLifetime) throw new VerifyError('lifetime_too_long');
  return deepFreeze(payload) as unknown as Claims;
}

/** Throws a {@link VerifyError} unless the token is valid at `now`, in seconds, within `leeway`. */
export function checkTimes({ iat, nbf = iat, exp }: Claims, now: number, leeway: number): void {
  if (Math.max(iat, nbf) > now + leeway) throw new VerifyError('token_not_yet_valid');
  if (now >= exp + leeway) throw new VerifyError('token_expired');
}

/**
 * The access that a token gives to a resource: the strongest of all patterns
 * that match it, and `none` for an invalid id. In a token of
 * `POST /v2/authorize-user`, the most specific pattern that lowers a feature below
 * its base (`storage:none`) bounds the broader ones to `read`. Throws a TypeError unless exactly
 * one of room and store is named.
 */
export function accessTo(claims: Claims, { room, store }: Resource): Access {
  if (isString(room) === isString(store)) throw new TypeError('accessTo: name either a room or a store');
  // An identity token (k "id") says who the user is and gives no access.
  if (claims.k && claims.k !== 'acc') return 'none';
  if (isString(room)) return roomAccess(claims.perms, room);
  return checkStoreId(store!) ? access(grants(claims.stores, storeAccess), store!) : 'none';
}

/**
 * The strongest base of all patterns that match. The most specific pattern that
 * lowers a feature bounds itself and the broader ones to `read`.
 */
function roomAccess(perms: Claims['perms'], room: string): Access {
  const lowering = [...grants(perms, lowersFeature)].filter(([pattern, lowers]) => lowers && matches(pattern, room));
  const bound = Math.max(-1, ...lowering.map(([pattern]) => specificity(pattern)));
  const bounded = [...grants(perms, baseOf)].map(([pattern, base]): [Pattern, Access] => [
    pattern,
    base === 'full' && specificity(pattern) <= bound ? 'read' : base,
  ]);
  return access(bounded, room);
}

/** Orders patterns that match the same id. */
function specificity({ literal, wildcard }: Pattern): number {
  return wildcard ? literal.length : Infinity;
}

function* grants<T, Read>(claim: Readonly<Record<string, T>> = {}, read: (value: T) => Read): Iterable<[Pattern, Read]> {
  for (const [text, value] of Object.entries(claim)) {
    const pattern = parsePattern(text);
    if (pattern) yield [pattern, read(value)];
  }
}

function storeAccess(text: string): Access {
  return text === 'read' || text === 'full' ? text : 'none';
}

const optionalClaims: [string, (value: unknown) => boolean][] = [
  ['k', isString],
  ['pid', isString],
  ['uid', isString],
  ['org', isString],
  ['sid', isString],
  ['ui', isObject],
  ['stores', (value) => isObject(value) && Object.values(value).every(isString)],
  [
    'perms',
    (value) => isObject(value) && Object.values(value).every((names) => Array.isArray(names) && names.every(isString)),
  ],
];

function isString(value: unknown): value is string {
  return typeof value === 'string';
}

function isId(value: unknown, maxBytes: number): boolean {
  return isString(value) && value !== '' && new TextEncoder().encode(value).length <= maxBytes;
}

// JSON.parse reads 1e400 as Infinity: a token that never expires.
function isTime(value: unknown): value is number {
  return typeof value === 'number' && value >= 0 && value <= lastTime;
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) Object.values(Object.freeze(value)).forEach(deepFreeze);
  return value;
}
