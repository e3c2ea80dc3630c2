// The import rules of keys as vectors: a name, the keys of a set, and the usable
// kids, or a part of the error message.

import { newKey } from './support.mjs';

const base64url = (bytes) => Buffer.from(bytes).toString('base64url');

const good = newKey('EdDSA', 'good').jwk;
const ed = newKey('EdDSA', 'x').jwk;
const ec = newKey('ES256', 'x').jwk;
const rsa = newKey('RS256', 'x').jwk;
const bare = ({ alg, use, ...jwk }) => jwk;

/** An Ed25519 key from its number, which is encoded little-endian. */
const edOf = (n) => ({
  ...bare(ed),
  x: base64url(Buffer.from(n.toString(16).padStart(64, '0'), 'hex').reverse()),
});
const p = (1n << 255n) - 19n;
const y8 = 0x7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7n; // of order 8
const withBothSigns = (n) => [n, n | (1n << 255n)];

/** An RSA key with a number of bits, all of them set. */
const rsaOf = (bits, e = 65537) => {
  const n = Buffer.alloc(Math.ceil(bits / 8), 0xff);
  n[0] >>= 8 * n.length - bits;
  const exponent = e.toString(16);
  return {
    kty: 'RSA',
    kid: 'x',
    n: base64url(n),
    e: base64url(Buffer.from(exponent.padStart(exponent.length + (exponent.length % 2), '0'), 'hex')),
  };
};

const accepted = (name, ...jwks) => [name, jwks, jwks.map((jwk) => jwk.kid)];
const skipped = (name, jwk) => [name, [jwk, good], ['good']];

export const keyVectors = [
  ...['EdDSA', 'Ed25519', 'ES256', 'RS256', 'PS256'].map((alg) => accepted(alg, newKey(alg).jwk)),
  ...[
    ['Ed25519', ed],
    ['P-256', ec],
    ['RSA', rsa],
  ].map(([name, jwk]) => accepted(`${name} without alg and use`, bare(jwk))),
  [
    '64 keys',
    Array.from({ length: 64 }, (_, i) => ({ ...ed, kid: `${i}` })),
    Array.from({ length: 64 }, (_, i) => `${i}`),
  ],
  ['65 keys', Array.from({ length: 65 }, (_, i) => ({ ...ed, kid: `${i}` })), 'more than 64'],
  ['no keys', [], 'no usable key'],
  ['only keys that are not objects', [null, 7, 'x', [ed]], 'no usable key'],

  // Points of Ed25519.
  ...[3n, 4n, 9n].map((y) => accepted(`y = ${y}`, edOf(y))),
  ...[2n, 7n, 8n, 11n].map((y) => skipped(`y = ${y}, no point`, edOf(y))),
  ...[0n, 1n, p - 1n, y8, p - y8].flatMap(withBothSigns).map((y) => skipped(`y = ${y}, of small order`, edOf(y))),
  ...[p, p + 1n, p + 3n, p + 18n].flatMap(withBothSigns).map((y) => skipped(`y = ${y}, not below p`, edOf(y))),
  skipped('Ed25519 of 31 bytes', { ...ed, x: base64url([4, ...Buffer.alloc(30)]) }),
  skipped('Ed25519 of 33 bytes', { ...ed, x: base64url([4, ...Buffer.alloc(32)]) }),
  skipped('Ed25519 with padding', { ...ed, x: `${ed.x}=` }),
  skipped('Ed25519 with stray bits', {
    ...ed,
    x: ed.x.replace(/.$/, (last) => String.fromCharCode(last.charCodeAt() + 1)),
  }),
  skipped('Ed25519 without x', { ...ed, x: undefined }),
  skipped('Ed25519 with a number', { ...ed, x: 9 }),
  skipped('X25519', { ...ed, crv: 'X25519' }),
  skipped('Ed25519 as EC', { ...ed, kty: 'EC' }),

  // Points of P-256.
  skipped('P-256 off the curve', { ...ec, x: ec.y, y: ec.x }),
  skipped('P-256 at nowhere', { ...ec, x: base64url(Buffer.alloc(32)), y: base64url(Buffer.alloc(32)) }),
  skipped('P-256 with a short x', { ...ec, x: base64url(Buffer.from(ec.x, 'base64url').subarray(1)) }),
  skipped('P-256 with a long x', { ...ec, x: base64url([0, ...Buffer.from(ec.x, 'base64url')]) }),
  skipped('P-256 with a long y', { ...ec, y: base64url([0, ...Buffer.from(ec.y, 'base64url')]) }),
  skipped('P-256 with x beyond the field', { ...ec, x: base64url(Buffer.alloc(32, 0xff)) }),
  skipped('P-256 without y', { ...ec, y: undefined }),
  skipped('P-384', { ...ec, crv: 'P-384' }),
  skipped('P-256 as RSA', { ...ec, kty: 'RSA' }),

  // RSA numbers.
  ...[2048, 3072, 4096].map((bits) => accepted(`RSA of ${bits} bits`, rsaOf(bits))),
  ...[512, 1024, 2047, 4097, 4104, 16384].map((bits) => skipped(`RSA of ${bits} bits`, rsaOf(bits))),
  ...[65537, 65539, 2 ** 31 - 1].map((e) => accepted(`RSA with e = ${e}`, rsaOf(2048, e))),
  ...[0, 1, 3, 65535, 65538, 2 ** 31 + 1, 2 ** 32 + 1].map((e) => skipped(`RSA with e = ${e}`, rsaOf(2048, e))),
  accepted('RSA with a zero before e', { ...rsa, e: 'AAEAAQ' }),
  skipped('RSA with two zeros before e', { ...rsa, e: 'AAABAAE' }),
  skipped('RSA with a zero before n', { ...rsa, n: base64url([0, ...Buffer.from(rsa.n, 'base64url')]) }),
  skipped('RSA with an even n', { ...rsa, n: base64url([...Buffer.alloc(255, 0xff), 0xfe]) }),
  skipped('RSA as oct', { ...rsa, kty: 'oct' }),
  skipped('RSA without e', { ...rsa, e: undefined }),

  // What a key is for.
  ...['ES256', 'RS256', 'HS256', 'none', '', 'eddsa', null, 7, ['EdDSA']].map((alg) =>
    skipped(`Ed25519 for ${alg}`, { ...ed, alg }),
  ),
  ...['EdDSA', 'ES384', 'RS256'].map((alg) => skipped(`P-256 for ${alg}`, { ...ec, alg })),
  ...['RS384', 'PS512', 'RSA-OAEP', 'HS256', 'EdDSA'].map((alg) => skipped(`RSA for ${alg}`, { ...rsa, alg })),
  ...['enc', 'SIG', '', null, ['sig']].map((use) => skipped(`use ${use}`, { ...ed, use })),
  accepted('key_ops verify', { ...ed, key_ops: ['verify'] }),
  ...[[], ['sign'], ['verify', 'encrypt'], 'verify', null].map((ops) =>
    skipped(`key_ops ${ops}`, { ...ed, key_ops: ops }),
  ),
  skipped('a symmetric key', { kty: 'oct', kid: 'x', k: 'AAAA', alg: 'HS256' }),
  skipped('an unknown kty', { ...ed, kty: 'AKP' }),
  ...['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth'].map((name) => [
    `private ${name}`,
    [good, { kty: 'XYZ', [name]: 'AA' }],
    'private key',
  ]),

  // What a key is called.
  ...[undefined, '', 1, null, ['x'], 'a b', 'a/b', 'ä', 'k'.repeat(129)].map((kid) =>
    skipped(`kid ${kid}`, { ...ed, kid }),
  ),
  accepted('kid of 128', { ...ed, kid: 'k'.repeat(128) }),
  ['two keys of one kid', [ed, good, ec], ['good']],
  ['three keys of one kid', [ed, ec, good, rsa], ['good']],
  ['two keys of one kid, one for encryption', [ed, { ...ec, use: 'enc' }], ['x']],
];
