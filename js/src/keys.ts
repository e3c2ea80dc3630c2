import { base64url, type JWK } from 'jose';

import { isBase64url } from './base64url.js';
import { isObject } from './json.js';

/** A public key that passed every import rule, for exactly one algorithm. */
export interface Key {
  readonly alg: string;
  readonly jwk: JWK;
}

/** The usable keys of one set, by kid. Immutable. */
export type KeyMap = ReadonlyMap<string, Key>;

const maxKeys = 64;

/** The form of key ids in sets and tokens: RFC 7638 thumbprints and other issuers' ids. */
export const kidShape = /^[A-Za-z0-9._-]{1,128}$/;

/**
 * Reads a JSON Web Key Set. Leaves out keys that it does not understand or that
 * break an import rule (RFC 7517 section 5), and keys that share a kid. Throws
 * if the set holds a private key, more than 64 keys or no usable key.
 */
export function readKeySet(set: unknown): KeyMap {
  if (!isObject(set) || !Array.isArray(set.keys)) throw new Error('not a JSON Web Key Set');
  if (set.keys.length > maxKeys) throw new Error(`more than ${maxKeys} keys`);
  const keys = new Map<string, Key>();
  const twice = new Set<string>();
  for (const jwk of set.keys as unknown[]) {
    if (!isObject(jwk)) continue;
    if (privateMembers.some((name) => name in jwk)) throw new Error('holds a private key: treat it as compromised');
    const key = readKey(jwk);
    if (key === undefined) continue;
    const kid = jwk.kid as string;
    if (keys.has(kid)) twice.add(kid);
    keys.set(kid, key);
  }
  for (const kid of twice) keys.delete(kid);
  if (keys.size === 0) throw new Error('no usable key');
  return keys;
}

const privateMembers = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth'];

function readKey(jwk: Record<string, unknown>): Key | undefined {
  const { kty, crv, kid, use, key_ops: ops } = jwk;
  if (typeof kid !== 'string' || !kidShape.test(kid)) return undefined;
  if (use !== undefined && use !== 'sig') return undefined;
  // A key with another use as well would be a key for two algorithms.
  if (ops !== undefined && !(Array.isArray(ops) && ops.length === 1 && ops[0] === 'verify')) return undefined;
  if (kty === 'OKP' && crv === 'Ed25519') {
    const x = bytesOf(jwk.x);
    return x && isEd25519Key(x) ? bind(jwk, ['EdDSA', 'Ed25519'], { kty, crv, x: jwk.x as string }) : undefined;
  }
  if (kty === 'EC' && crv === 'P-256') {
    const x = bytesOf(jwk.x);
    const y = bytesOf(jwk.y);
    return x && y && isP256Point(x, y)
      ? bind(jwk, ['ES256'], { kty, crv, x: jwk.x as string, y: jwk.y as string })
      : undefined;
  }
  if (kty === 'RSA') {
    const n = bytesOf(jwk.n);
    const e = bytesOf(jwk.e);
    return n && e && isRSAKey(n, e)
      ? bind(jwk, ['RS256', 'PS256'], { kty, n: jwk.n as string, e: jwk.e as string })
      : undefined;
  }
  return undefined;
}

/** Binds a key to the algorithm that it names, or else to the first suitable one. */
function bind(jwk: Record<string, unknown>, fitting: string[], members: JWK): Key | undefined {
  const alg = jwk.alg === undefined ? fitting[0] : jwk.alg;
  return typeof alg === 'string' && fitting.includes(alg) ? { alg, jwk: members } : undefined;
}

function bytesOf(member: unknown): Uint8Array | undefined {
  return typeof member === 'string' && isBase64url(member) ? base64url.decode(member) : undefined;
}

// The code below handles public data only, so it need not run in constant time.

function toBigInt(bytes: Iterable<number>): bigint {
  let n = 0n;
  for (const byte of bytes) n = (n << 8n) | BigInt(byte);
  return n;
}

/**
 * A modulus of 2048 to 4096 bits, since the cost of verifying grows with its
 * square, that is odd; an exponent that is odd, at least 65537 and below 2^31
 * (with 1 every signature is valid, and long ones are expensive).
 */
function isRSAKey(n: Uint8Array, e: Uint8Array): boolean {
  if (n.length < 256 || n.length > 512 || n[0] === 0 || e.length > 4) return false;
  const exponent = toBigInt(e);
  return (
    toBigInt(n) >> 2047n !== 0n &&
    n.at(-1)! % 2 === 1 &&
    exponent % 2n === 1n &&
    exponent >= 65537n &&
    exponent < 1n << 31n
  );
}

/** Full-length coordinates (RFC 7518 section 6.2.1.2) of a point on the curve. */
function isP256Point(xBytes: Uint8Array, yBytes: Uint8Array): boolean {
  if (xBytes.length !== 32 || yBytes.length !== 32) return false;
  const p = 0xffffffff00000001000000000000000000000000ffffffffffffffffffffffffn;
  const b = 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn;
  const x = toBigInt(xBytes);
  const y = toBigInt(yBytes);
  return x < p && y < p && (y * y - x * x * x + 3n * x - b) % p === 0n;
}

/**
 * The canonical encoding of a point on the curve (RFC 8032 section 5.1.3) that
 * does not have small order. With one of those eight points, one signature is
 * valid for every message, or for one message in eight.
 */
function isEd25519Key(x: Uint8Array): boolean {
  if (x.length !== 32) return false;
  const p = (1n << 255n) - 19n;
  const d = 0x52036cee2b6ffe738cc740797779e89800700a4d4141d8ab75eb4dca135978a3n;
  const y = toBigInt(x.toReversed()) & ((1n << 255n) - 1n);
  const y8 = 0x5fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826n;
  if (y >= p || [0n, y8, p - y8].includes(y)) return false; // order 4 and 8
  // x^2 = (y^2 - 1) / (d y^2 + 1) has a root if the product of the two is a
  // square. The product is 0 for y = 1 and y = -1, which have order 1 and 2.
  const square = (y * y) % p;
  return power((square - 1n) * (d * square + 1n), (p - 1n) / 2n, p) === 1n;
}

function power(base: bigint, exponent: bigint, modulus: bigint): bigint {
  let result = 1n;
  for (let b = base % modulus; exponent > 0n; exponent >>= 1n, b = (b * b) % modulus) {
    if (exponent & 1n) result = (result * b) % modulus;
  }
  return result;
}
