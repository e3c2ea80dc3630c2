// The policy of tokens as vectors: a name, a token, and its verdict. The tokens
// are signed in each run; fixed corpora are in corpora.test.mjs.

import { audience, full, goodClaims, inCheckout, issuer, newKey, read, readJSON, start } from './support.mjs';

const keys = Object.fromEntries(['EdDSA', 'Ed25519', 'ES256', 'RS256', 'PS256'].map((alg) => [alg, newKey(alg)]));
const stranger = newKey('EdDSA', keys.EdDSA.jwk.kid);
const { jwk } = keys.EdDSA;
const good = keys.EdDSA.token.bind(keys.EdDSA);
const raw = keys.EdDSA.signRaw.bind(keys.EdDSA);
const header = { alg: 'EdDSA', kid: jwk.kid, typ: 'at+jwt' };
const json = (changes) => JSON.stringify(goodClaims(changes));

/** A token whose payload's JSON text the caller changes. */
const text = (change, changes) => raw(header, change(json(changes)));
const headerText = (change) => raw(change(JSON.stringify(header)), goodClaims());
const nested = (levels) => JSON.parse('['.repeat(levels) + ']'.repeat(levels));
const padTo = (length) => {
  const unpadded = good({ pad: '' }).length;
  return good({ pad: 'x'.repeat(Math.floor(((length - unpadded) * 3) / 4)) });
};

/** The configuration of the verifier for the vectors. */
export const config = {
  issuer,
  audience,
  jwks: { keys: Object.values(keys).map((key) => key.jwk) },
  now: () => start * 1000,
};

/** A valid token. */
export const goodToken = good();

/** Rows of [name, token, verdict]: "valid", or the code of the refusal. */
export const vectors = [
  ...Object.entries(keys).map(([alg, key]) => [`signed ${alg}`, key.token(), 'valid']),
  ['16 KiB', padTo(16_384), 'valid'],

  // The form of the text.
  ['a number', 7, 'token_malformed'],
  ['empty', '', 'token_malformed'],
  ['over 16 KiB', padTo(16_388), 'token_malformed'],
  ['100,000 dots', '.'.repeat(100_000), 'token_malformed'],
  ['no dot', goodToken.replaceAll('.', ''), 'token_malformed'],
  ['one dot', goodToken.replace('.', ''), 'token_malformed'],
  ['three dots', `${goodToken}.`, 'token_malformed'],
  ['four dots', `${goodToken}.e30.e30`, 'token_malformed'],
  ['empty header', goodToken.slice(goodToken.indexOf('.')), 'token_malformed'],
  ['empty payload', raw(header, ''), 'token_malformed'],
  ['empty signature', goodToken.slice(0, goodToken.lastIndexOf('.') + 1), 'signature_invalid'],
  ['padding', `${goodToken}==`, 'token_malformed'],
  ['blank before', ` ${goodToken}`, 'token_malformed'],
  ['newline after', `${goodToken}\n`, 'token_malformed'],
  ['NUL after', `${goodToken}\0`, 'token_malformed'],
  ['Bearer before', `Bearer ${goodToken}`, 'token_malformed'],
  ['standard base64', goodToken.replace(/.$/, '+'), 'token_malformed'],
  ['beyond ASCII', goodToken.replace(/.$/, 'Ā'), 'token_malformed'],
  ['unused bits set', goodToken.slice(0, -1) + { A: 'B', Q: 'R', g: 'h', w: 'x' }[goodToken.at(-1)], 'token_malformed'],
  ['one lone character', `${goodToken}AAA`, 'token_malformed'],

  // The header.
  ['header not JSON', headerText((t) => t.slice(1)), 'token_malformed'],
  ['header an array', headerText((t) => `[${t}]`), 'token_malformed'],
  ['header null', headerText(() => 'null'), 'token_malformed'],
  ['header names twice', headerText((t) => t.replace('{', '{"alg":"none",')), 'token_malformed'],
  ['header names in two cases', headerText((t) => t.replace('{', '{"ALG":"none",')), 'token_malformed'],
  ['typ application/at+jwt', good({}, { typ: 'application/at+jwt' }), 'valid'],
  ['typ AT+JWT', good({}, { typ: 'AT+JWT' }), 'valid'],
  ['typ absent', good({}, { typ: undefined }), 'type_mismatch'],
  ['typ JWT', good({}, { typ: 'JWT' }), 'type_mismatch'],
  ['typ revocations+jwt', good({}, { typ: 'revocations+jwt' }), 'type_mismatch'],
  ['typ at+jwtx', good({}, { typ: 'at+jwtx' }), 'type_mismatch'],
  ['typ xat+jwt', good({}, { typ: 'xat+jwt' }), 'type_mismatch'],
  ['typ an array', good({}, { typ: ['at+jwt'] }), 'type_mismatch'],
  ['kid absent', good({}, { kid: undefined }), 'header_invalid'],
  ['kid a number', good({}, { kid: 1 }), 'header_invalid'],
  ['kid an array', good({}, { kid: [jwk.kid] }), 'header_invalid'],
  ['kid empty', good({}, { kid: '' }), 'header_invalid'],
  ['kid a path', good({}, { kid: '../../dev/null' }), 'header_invalid'],
  ['kid of 129 bytes', good({}, { kid: 'k'.repeat(129) }), 'header_invalid'],
  ['kid of 128 bytes', good({}, { kid: 'k'.repeat(128) }), 'key_unknown'],
  ['kid a name of Object', good({}, { kid: 'constructor' }), 'key_unknown'],
  ['kid in upper case', good({}, { kid: jwk.kid.toUpperCase() }), 'key_unknown'],
  ...['crit', 'b64', 'zip', 'enc', 'jku', 'jwk', 'x5u', 'x5c', 'cty', 'x5t', 'unheard'].map((name) => [
    `header ${name}`,
    good({}, { [name]: 'x' }),
    'header_invalid',
  ]),
  ['crit of nothing', good({}, { crit: [] }), 'header_invalid'],
  ['b64 false', good({}, { b64: false, crit: ['b64'] }), 'header_invalid'],

  // Keys, algorithms, signatures.
  ...['none', 'None', 'none ', '', null, 'eddsa', 'HS256', 'ES256', 'Ed25519', ['EdDSA'], undefined].map((alg) => [
    `alg ${JSON.stringify(alg)}`,
    good({}, { alg }),
    'algorithm_mismatch',
  ]),
  ['EdDSA where the key says Ed25519', keys.Ed25519.token({}, { alg: 'EdDSA' }), 'algorithm_mismatch'],
  ['PS256 where the key says RS256', keys.RS256.token({}, { alg: 'PS256' }), 'algorithm_mismatch'],
  ['signed by another key', stranger.token(), 'signature_invalid'],
  ['signature of another token', good().replace(/[^.]+$/, goodToken.split('.')[2]), 'signature_invalid'],
  ['signature of 63 bytes', goodToken.slice(0, -2), 'signature_invalid'],
  ['ES256 of zeros', keys.ES256.token().replace(/[^.]+$/, 'A'.repeat(86)), 'signature_invalid'],
  ['ES256 with two bytes more', `${keys.ES256.token()}AA`, 'signature_invalid'],
  ['expired and forged', stranger.token({ iat: 1, exp: 2 }), 'signature_invalid'],

  // The payload as JSON.
  ['payload not JSON', text((t) => t.slice(1)), 'token_malformed'],
  ['payload an array', text((t) => `[${t}]`), 'token_malformed'],
  ['payload a string', text((t) => JSON.stringify(t)), 'token_malformed'],
  ['payload null', text(() => 'null'), 'token_malformed'],
  ['payload with trailing data', text((t) => `${t}{}`), 'token_malformed'],
  ['payload with a BOM', text((t) => `\ufeff${t}`), 'token_malformed'],
  ['payload in Latin-1', raw(header, Buffer.from(json({ org: 'é' }), 'latin1')), 'token_malformed'],
  ['payload names twice', text((t) => t.replace('{', '{"exp":1,')), 'token_malformed'],
  ['payload names twice, once escaped', text((t) => t.replace('{', '{"\\u0065xp":1,')), 'token_malformed'],
  ['payload names in two cases', text((t) => t.replace('{', '{"EXP":1,')), 'token_malformed'],
  ['payload names in two scripts', text((t) => t.replace('{', '{"iſs":"x",')), 'token_malformed'],
  ['payload names twice inside', text((t) => t.replace('{}', '{"a":1,"a":1}'), { ui: {} }), 'token_malformed'],
  ['payload names in two cases inside', good({ stores: { Notes: 'read', notes: 'full' } }), 'valid'],
  ['payload names alike in two objects', good({ ui: { a: { b: 1 }, b: { a: 1 } } }), 'valid'],
  ['payload 16 deep', good({ x: nested(15) }), 'valid'],
  ['payload 17 deep', good({ x: nested(16) }), 'token_malformed'],
  ['payload with a NUL', good({ org: 'a\0' }), 'token_malformed'],
  ['payload with a lone surrogate', good({ org: '\ud800' }), 'token_malformed'],
  ['payload with a lone surrogate in a name', good({ ui: { '\udc00': 1 } }), 'token_malformed'],
  ['payload with a pair of escapes', text((t) => t.replace('ORG', '\\ud83d\\ude00'), { org: 'ORG' }), 'valid'],
  ['payload with an escaped quote', good({ org: '"}{"exp":1' }), 'valid'],

  // Issuer and audience.
  ['iss absent', good({ iss: undefined }), 'issuer_mismatch'],
  ['iss empty', good({ iss: '' }), 'issuer_mismatch'],
  ['iss with a slash', good({ iss: `${issuer}/` }), 'issuer_mismatch'],
  ['iss in upper case', good({ iss: issuer.toUpperCase() }), 'issuer_mismatch'],
  ['iss an array', good({ iss: [issuer] }), 'issuer_mismatch'],
  ['aud one of several', good({ aud: ['other', audience] }), 'valid'],
  ['aud absent', good({ aud: undefined }), 'audience_mismatch'],
  ['aud null', good({ aud: null }), 'audience_mismatch'],
  ['aud another', good({ aud: 'other' }), 'audience_mismatch'],
  ['aud longer', good({ aud: `${audience}2` }), 'audience_mismatch'],
  ['aud in upper case', good({ aud: audience.toUpperCase() }), 'audience_mismatch'],
  ['aud empty', good({ aud: [] }), 'audience_mismatch'],
  ['aud an array in an array', good({ aud: [[audience]] }), 'audience_mismatch'],
  ['aud with a number', good({ aud: [audience, 1] }), 'audience_mismatch'],

  // Times. The leeway is 30 s.
  ['lives an hour', good({ exp: start + 3600 }), 'valid'],
  ['lives over an hour', good({ exp: start + 3601 }), 'lifetime_too_long'],
  ['exp 29 s ago', good({ iat: start - 300, exp: start - 29 }), 'valid'],
  ['exp 30 s ago', good({ iat: start - 300, exp: start - 30 }), 'token_expired'],
  ['iat in 30 s', good({ iat: start + 30 }), 'valid'],
  ['iat in 31 s', good({ iat: start + 31 }), 'token_not_yet_valid'],
  ['nbf in 30 s', good({ nbf: start + 30 }), 'valid'],
  ['nbf in 31 s', good({ nbf: start + 31 }), 'token_not_yet_valid'],
  ['iat in 31 s, nbf now', good({ iat: start + 31, nbf: start }), 'token_not_yet_valid'],
  ['exp with a fraction', good({ exp: start + 0.5 }), 'valid'],
  ['exp as iat', good({ exp: start }), 'claims_invalid'],
  ...['iat', 'exp', 'nbf'].flatMap((name) => [
    ...[null, '1800000000', true, [start], -1].map((value) => [
      `${name} ${JSON.stringify(value)}`,
      good({ [name]: value }),
      'claims_invalid',
    ]),
    ...['1e400', '-1e400', '253402300800'].map((number) => [
      `${name} ${number}`,
      text((t) => t.replace('"TIME"', number), { [name]: 'TIME' }),
      'claims_invalid',
    ]),
  ]),
  ['iat absent', good({ iat: undefined }), 'claims_invalid'],
  ['exp absent', good({ exp: undefined }), 'claims_invalid'],

  // Other claims.
  ...[
    ['sub', 384],
    ['jti', 255],
  ].flatMap(([name, bytes]) => [
    [`${name} absent`, good({ [name]: undefined }), 'claims_invalid'],
    [`${name} empty`, good({ [name]: '' }), 'claims_invalid'],
    [`${name} a number`, good({ [name]: 1 }), 'claims_invalid'],
    [`${name} of ${bytes} bytes`, good({ [name]: `é${'e'.repeat(bytes - 2)}` }), 'valid'],
    [`${name} of ${bytes + 1} bytes`, good({ [name]: `é${'e'.repeat(bytes - 1)}` }), 'claims_invalid'],
  ]),
  ...['k', 'pid', 'uid', 'org', 'sid'].map((name) => [`${name} a number`, good({ [name]: 1 }), 'claims_invalid']),
  ['ui a string', good({ ui: 'Alice' }), 'claims_invalid'],
  ['perms an array', good({ perms: ['room:write'] }), 'claims_invalid'],
  ['perms null', good({ perms: null }), 'claims_invalid'],
  ['perms an array of lists', good({ perms: [['room:write']] }), 'claims_invalid'],
  ['perms of a string', good({ perms: { '*': 'room:write' } }), 'claims_invalid'],
  ['perms of numbers', good({ perms: { '*': [1] } }), 'claims_invalid'],
  ['stores an array', good({ stores: ['full'] }), 'claims_invalid'],
  ['stores of a number', good({ stores: { notes: 1 } }), 'claims_invalid'],
  ['claims beyond ours', good({ roles: ['x'], cnf: null, 'https://x.test/y': {} }), 'valid'],
  ['a claim __proto__', text((t) => t.replace('{', '{"__proto__":{"aud":"x"},')), 'valid'],
];

const both = {
  perms: { 'acme:*': read, 'acme:1': full },
  stores: { 'acme_*': 'read', acme_notes: 'full', odd: 'owner', 'a*b': 'full', 'a:b': 'full', 'über*': 'full' },
};
const all = { perms: { '*': full }, stores: { '*': 'full' } };

/** Rows of [claims, resource, access]. */
export const accessVectors = [
  [both, { room: 'acme:1' }, 'full'],
  [both, { room: 'acme:2' }, 'read'],
  [both, { room: 'acme:12' }, 'read'], // an exact id is no prefix
  [both, { room: 'x:acme:1' }, 'none'],
  [both, { room: 'acme' }, 'none'],
  [both, { room: 'beta:1' }, 'none'],
  [both, { room: 'ACME:1' }, 'none'],
  [both, { room: 'acme_notes' }, 'none'], // a store is no room
  [both, { store: 'acme_notes' }, 'full'],
  [both, { store: 'acme_tasks' }, 'read'],
  [both, { store: 'acme' }, 'none'],
  [both, { store: 'acme:1' }, 'none'], // a room is no store
  [both, { store: 'a:b' }, 'none'], // nor has a store such an id
  [both, { store: 'über' }, 'none'],
  [both, { store: 'odd' }, 'none'], // no access of that name
  [both, { store: 'a*b' }, 'none'],
  [both, { room: 'acme:*' }, 'none'],
  [both, { room: 'acme:1\n' }, 'none'],
  [all, { room: 'any' }, 'full'],
  [all, { store: 'any' }, 'full'],
  [all, { room: '' }, 'none'],
  [all, { room: '*' }, 'none'],
  [all, { room: 'a\ud800' }, 'none'],
  [all, { room: 'x'.repeat(128) }, 'full'],
  [all, { room: 'x'.repeat(129) }, 'none'],
  [all, { store: '' }, 'none'],
  [all, { store: 'x'.repeat(129) }, 'none'],
  [{ ...all, k: 'acc' }, { room: 'any' }, 'full'],
  [{ ...all, k: 'id' }, { room: 'any' }, 'none'], // an identity token opens nothing
  [{ ...all, k: 'id' }, { store: 'any' }, 'none'],
  [{}, { room: 'any' }, 'none'],
  [{}, { store: 'any' }, 'none'],
  [{ perms: { '*': ['*:write', 'storage:none'] } }, { room: 'any' }, 'read'],
  [{ perms: { '*': ['*:write', 'storage:read'] } }, { room: 'any' }, 'read'],
  [{ perms: { '*': ['*:write', 'storage:read', 'storage:write'] } }, { room: 'any' }, 'full'],
  [{ perms: { '*': [...read, ...full] } }, { room: 'any' }, 'full'],
  [{ perms: { '*': ['*:write', 'room:read'] } }, { room: 'any' }, 'full'],
  [{ perms: { '*': ['room:write', '*:read'] } }, { room: 'any' }, 'full'],
  [{ perms: { '*': ['*:read'] } }, { room: 'any' }, 'read'],
  [{ perms: { '*': ['room:presence:write', 'comments:write'] } }, { room: 'any' }, 'none'],
  [{ perms: { '*': read, 'a:*': full } }, { room: 'a:1' }, 'full'],
  [{ perms: { '*': full, 'a:*': read } }, { room: 'a:1' }, 'full'],
  ...readJSON(inCheckout('session/testdata/perms_access.json')).tokens.map(({ perms, room, access }) => [
    { k: 'acc', perms },
    { room },
    access,
  ]),
];
