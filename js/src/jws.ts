import { base64url, compactVerify, errors } from 'jose';

import { isBase64url } from './base64url.js';
import { VerifyError } from './errors.js';
import { isObject, parseStrictJSON } from './json.js';
import { kidShape, type Key } from './keys.js';

const maxTokenLength = 16 * 1024;

/**
 * Splits a compact JWS. The cheap checks of length and dots come first. Each
 * segment has only one valid spelling, so a token has only one too.
 */
export function splitToken(token: string): { header: Uint8Array; payload: Uint8Array } {
  if (typeof token !== 'string' || token.length > maxTokenLength) throw new VerifyError('token_malformed');
  const segments = token.split('.', 4);
  if (segments.length !== 3 || !segments.every(isBase64url)) throw new VerifyError('token_malformed');
  return { header: base64url.decode(segments[0]!), payload: base64url.decode(segments[1]!) };
}

/** Parses a segment that must be one JSON object. */
export function parseObject(bytes: Uint8Array): Record<string, unknown> {
  let value: unknown;
  try {
    value = parseStrictJSON(bytes);
  } catch {
    // The cause quotes the token, so it is dropped.
  }
  if (!isObject(value)) throw new VerifyError('token_malformed');
  return value;
}

/**
 * Reads the header of an access token. It may hold only `alg`, `kid` and `typ`:
 * no extensions (`crit`, `b64`, `zip`) and no key chosen by the sender (`jwk`,
 * `jku`, `x5u`, `x5c`).
 */
export function readHeader(bytes: Uint8Array): { kid: string; alg: unknown } {
  const { kid, alg, typ, ...others } = parseObject(bytes);
  if (Object.keys(others).length > 0 || typeof kid !== 'string' || !kidShape.test(kid)) {
    throw new VerifyError('header_invalid');
  }
  if (typeof typ !== 'string' || !/^(application\/)?at\+jwt$/i.test(typ)) throw new VerifyError('type_mismatch');
  return { kid, alg };
}

/** Checks the signature with a key, and that `alg` is that key's only algorithm. */
export async function verifySignature(token: string, alg: unknown, key: Key | undefined): Promise<void> {
  if (!key) throw new VerifyError('key_unknown');
  if (alg !== key.alg) throw new VerifyError('algorithm_mismatch');
  try {
    await compactVerify(token, key.jwk, { algorithms: [key.alg] });
  } catch (cause) {
    if (cause instanceof errors.JWSSignatureVerificationFailed) throw new VerifyError('signature_invalid');
    // The platform lacks the algorithm, which says nothing about the token.
    throw new VerifyError('keys_unavailable', { cause });
  }
}
