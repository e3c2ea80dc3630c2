// Removes one check of the built package at a time. At least one vector must
// then get a different verdict: otherwise the check is untested or unnecessary.

import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';

import { keyVectors } from './keyvectors.mjs';
import { accessVectors, config, vectors } from './policy.mjs';
import { packageDir, verdict } from './support.mjs';

/** Rows of [file, a check, its replacement]. The check must occur exactly once; whitespace may differ. */
const mutants = [
  ['base64url.js', '[AQgw]', '[\\w-]'],
  ['base64url.js', '[AEIMQUYcgkosw048]', '[\\w-]'],
  ['base64url.js', '/^(?:', '/(?:'],
  ['base64url.js', ')?$/', ')?/'],
  ['base64url.js', ')?$/', ')?[\\w-]?$/'],

  ['json.js', 'fatal: true', 'fatal: false'],
  ['json.js', 'ignoreBOM: true', 'ignoreBOM: false'],
  ['json.js', 'open.push(new Set()) > maxDepth', 'open.push(new Set()) > 10_000'],
  ['json.js', 'maxDepth = 16', 'maxDepth = 15'],
  ['json.js', "token.includes('\\\\') ? JSON.parse(token) : ", ''],
  ['json.js', '/[\\0\\p{Cs}]/u', '/[\\p{Cs}]/u'],
  ['json.js', '/[\\0\\p{Cs}]/u', '/[\\0]/u'],
  ['json.js', 'open.length === 1 ? foldCase(exact) : exact', 'exact'],
  ['json.js', 'open.length === 1 ? foldCase(exact) : exact', 'foldCase(exact)'],
  ['json.js', 'if (names.has(name))', 'if (false)'],
  ['json.js', "char === 'ı' ? char : single(char.toUpperCase(), char)", 'char'],
  ['json.js', ' && !Array.isArray(value)', ''],
  ['json.js', ' && value !== null', ''],

  ['jws.js', "typeof token !== 'string' || ", ''],
  ['jws.js', 'token.length > maxTokenLength', 'false'],
  ['jws.js', 'segments.length !== 3 || ', ''],
  ['jws.js', '!segments.every(isBase64url)', 'false'],
  ['jws.js', '!isObject(value)', 'false'],
  ['jws.js', 'Object.keys(others).length > 0', 'false'],
  ['jws.js', "typeof kid !== 'string' || ", ''],
  ['jws.js', '!kidShape.test(kid)', 'false'],
  ['jws.js', "typeof typ !== 'string' || ", ''],
  ['jws.js', '!/^(application\\/)?at\\+jwt$/i.test(typ)', 'false'],
  ['jws.js', '(application\\/)?', ''],
  ['jws.js', '/^(application', '/(application'],
  ['jws.js', 'at\\+jwt$/i', 'at\\+jwt/i'],
  ['jws.js', '$/i.test', '$/.test'],
  ['jws.js', 'if (!key)', 'if (false)'],
  ['jws.js', 'alg !== key.alg', 'false'],
  ['jws.js', 'await compactVerify(token, key.jwk, { algorithms: [key.alg] })', ''],

  ['claims.js', 'payload.iss !== rules.issuer', 'false'],
  ['claims.js', 'Array.isArray(payload.aud) ? payload.aud : [payload.aud]', '[payload.aud]'],
  ['claims.js', '!audiences.every(isString) || ', ''],
  ['claims.js', ' || !audiences.includes(rules.audience)', ''],
  ['claims.js', 'isId(payload.sub, 384) &&', ''],
  ['claims.js', 'isId(payload.sub, 384)', 'isId(payload.sub, 383)'],
  ['claims.js', 'isId(payload.jti, 255) &&', ''],
  ['claims.js', 'isId(payload.jti, 255)', 'isId(payload.jti, 254)'],
  ['claims.js', 'isTime(iat) &&', ''],
  ['claims.js', 'isTime(exp) &&', ''],
  ['claims.js', '(nbf === undefined || isTime(nbf)) &&', ''],
  ['claims.js', 'exp > iat &&', ''],
  ['claims.js', 'exp > iat', 'exp >= iat'],
  ['claims.js', '&& optionalClaims.every(([name, check]) => payload[name] === undefined || check(payload[name]))', ''],
  ['claims.js', 'if (exp - iat > rules.maxLifetime)', 'if (false)'],
  ['claims.js', 'exp - iat > rules', 'exp - iat >= rules'],
  ['claims.js', 'Math.max(iat, nbf)', 'iat'],
  ['claims.js', 'Math.max(iat, nbf)', 'nbf'],
  ['claims.js', 'nbf) > now + leeway', 'nbf) >= now + leeway'],
  ['claims.js', 'nbf) > now + leeway', 'nbf) > now + 60'],
  ['claims.js', 'now >= exp + leeway', 'false'],
  ['claims.js', 'now >= exp + leeway', 'now > exp + leeway'],
  ['claims.js', 'now >= exp + leeway', 'now >= exp'],
  ...[
    "['k', isString],",
    "['pid', isString],",
    "['uid', isString],",
    "['org', isString],",
    "['sid', isString],",
    "['ui', isObject],",
  ].map((row) => ['claims.js', row, '']),
  ['claims.js', 'isObject(value) && Object.values(value).every(isString)', 'Object.values(value).every(isString)'],
  ['claims.js', 'isObject(value) && Object.values(value).every(isString)', 'isObject(value)'],
  ['claims.js', 'isObject(value) && Object.values(value).every((names) =>', 'Object.values(value).every((names) =>'],
  ['claims.js', 'Array.isArray(names) && ', ''],
  ['claims.js', ' && names.every(isString)', ''],
  ['claims.js', "value !== '' && ", ''],
  ['claims.js', 'new TextEncoder().encode(value).length', 'value.length'],
  ['claims.js', "typeof value === 'number' && ", ''],
  ['claims.js', 'value >= 0 && ', ''],
  ['claims.js', ' && value <= lastTime', ''],

  ['keys.js', 'if (set.keys.length > maxKeys)', 'if (false)'],
  ['keys.js', '.length > maxKeys', '.length >= maxKeys'],
  ['keys.js', 'privateMembers.some((name) => name in jwk)', 'false'],
  ...['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth'].map((name) => ['keys.js', `'${name}'`, "'x-'"]),
  ['keys.js', 'keys.delete(kid)', ''],
  ['keys.js', 'if (keys.size === 0)', 'if (false)'],
  ['keys.js', "typeof kid !== 'string' || ", ''],
  ['keys.js', '!kidShape.test(kid)', 'false'],
  ['keys.js', "use !== undefined && use !== 'sig'", 'false'],
  ['keys.js', 'Array.isArray(ops) && ', ''],
  ['keys.js', 'ops.length === 1 && ', ''],
  ['keys.js', "ops[0] === 'verify'", 'true'],
  ['keys.js', "kty === 'OKP' && ", ''],
  ['keys.js', " && crv === 'Ed25519'", ''],
  ['keys.js', "kty === 'EC' && ", ''],
  ['keys.js', " && crv === 'P-256'", ''],
  ['keys.js', "kty === 'RSA'", 'true'],
  ['keys.js', 'x && isEd25519Key(x)', 'x'],
  ['keys.js', 'x && y && isP256Point(x, y)', 'x && y'],
  ['keys.js', 'n && e && isRSAKey(n, e)', 'n && e'],
  ['keys.js', ' && fitting.includes(alg)', ''],
  ['keys.js', 'jwk.alg === undefined ?', 'jwk.alg == null ?'],
  ['keys.js', 'n.length > 512', 'false'],
  ['keys.js', 'n[0] === 0 || ', ''],
  ['keys.js', ' || e.length > 4', ''],
  ['keys.js', 'toBigInt(n) >> 2047n !== 0n && ', ''],
  ['keys.js', 'n.at(-1) % 2 === 1 && ', ''],
  ['keys.js', 'exponent % 2n === 1n && ', ''],
  ['keys.js', 'exponent >= 65537n && ', ''],
  ['keys.js', ' && exponent < 1n << 31n', ''],
  ['keys.js', 'xBytes.length !== 32', 'false'],
  ['keys.js', 'yBytes.length !== 32', 'false'],
  ['keys.js', '(y * y - x * x * x + 3n * x - b) % p === 0n', 'true'],
  ['keys.js', 'if (x.length !== 32)', 'if (false)'],
  ['keys.js', 'y >= p || ', ''],
  ['keys.js', '[0n, y8, p - y8]', '[y8, p - y8]'],
  ['keys.js', '[0n, y8, p - y8]', '[0n, p - y8]'],
  ['keys.js', '[0n, y8, p - y8]', '[0n, y8]'],
  ['keys.js', 'power((square - 1n) * (d * square + 1n), (p - 1n) / 2n, p) === 1n', 'true'],
  ['keys.js', '(p - 1n) / 2n, p) === 1n', '(p - 1n) / 2n, p) !== p - 1n'],

  ['claims.js', "claims.k && claims.k !== 'acc'", 'false'],
  ['claims.js', 'claims.k && ', ''],
  ['claims.js', 'checkStoreId(store) ?', 'true ?'],
  ['claims.js', "text === 'read' || text === 'full' ? text : 'none'", 'text'],
  ['scopes.js', "level === 'read' ? base !== 'read' : ", ''],
  ['scopes.js', "base !== 'read'", 'true'],
  ['scopes.js', "level === 'none' && ", 'false && '],
  ['scopes.js', ' && !names.includes(`${feature}:read`)', ''],
  ['scopes.js', 'if (names.includes(`${feature}:write`)) return false;', ''],
  ['scopes.js', "name === '*:read' || name === 'room:read'", 'false'],
  ['claims.js', "base === 'full' && specificity(pattern) <= bound ? 'read' : base", 'base'],
  ['claims.js', "base === 'full' && ", ''],
  ['claims.js', ' && specificity(pattern) <= bound', ''],
  ['claims.js', 'lowers && matches(pattern, room)', 'lowers'],
  ['claims.js', 'wildcard ? literal.length : Infinity', 'literal.length'],
  ['permissions.js', 'id.length > 0 && ', ''],
  ['permissions.js', ' && id.length <= maxUnits', ''],
  ['permissions.js', '[*\\p{Cc}\\p{Cs}]', '[\\p{Cc}\\p{Cs}]'],
  ['permissions.js', '[*\\p{Cc}\\p{Cs}]', '[*\\p{Cs}]'],
  ['permissions.js', '[*\\p{Cc}\\p{Cs}]', '[*\\p{Cc}]'],
  ['permissions.js', 'return /^[A-Za-z0-9_-]', 'return /^[^]'],
  ['permissions.js', 'checkId(id) && (pattern', '(pattern'],
  ['permissions.js', 'id.startsWith(pattern.literal)', 'id.includes(pattern.literal)'],
  ['permissions.js', 'id === pattern.literal', 'id.startsWith(pattern.literal)'],
  ['permissions.js', '!atLeast(strongest, granted) && ', ''],

  ['verifier.js', 'await verifySignature(token, alg, set.get(kid));', ''],
  ['verifier.js', 'checkTimes(claims, now() / 1000, leeway);', ''],
];

/** Runs the vectors with the package in a directory. Returns the name of the first with a wrong verdict. */
async function firstWrong(dir) {
  const load = (file) => import(pathToFileURL(join(dir, file)));
  const { accessTo, createVerifier } = await load('index.js');
  const { readKeySet } = await load('keys.js');
  for (const [name, keys, want] of keyVectors) {
    let got;
    try {
      got = [...readKeySet({ keys }).keys()].join();
    } catch (error) {
      got = error.message;
    }
    if (typeof want === 'string' ? !got.includes(want) : got !== want.join()) return name;
  }
  for (const [claims, resource, want] of accessVectors) {
    if (accessTo(claims, resource) !== want) return JSON.stringify([claims, resource]);
  }
  const verifier = createVerifier(config);
  for (const [name, token, want] of vectors) {
    const got = await verdict(verifier.verify(token)).catch((error) => error.name);
    if (got !== want) return name;
  }
  return undefined;
}

test('removing any check changes the verdict of a vector', async (t) => {
  const home = mkdtempSync(join(tmpdir(), 'usher-mutants-'));
  t.after(() => rmSync(home, { recursive: true }));
  symlinkSync(join(packageDir, 'node_modules'), join(home, 'node_modules'));
  writeFileSync(join(home, 'package.json'), '{"type":"module"}');
  const built = join(packageDir, 'dist');
  assert.equal(await firstWrong(built), undefined);

  const unnoticed = [];
  for (const [index, [file, check, instead]] of mutants.entries()) {
    const dir = join(home, `${index}`);
    cpSync(built, dir, { recursive: true });
    const code = readFileSync(join(dir, file), 'utf8');
    const pattern = check.replace(/[$()*+.?[\\\]^{|}]/g, '\\$&').replace(/\s+/g, '\\s+');
    const parts = code.split(new RegExp(pattern));
    assert.equal(parts.length, 2, `${file}: ${check}: does not occur exactly once`);
    writeFileSync(join(dir, file), parts.join(instead));
    if ((await firstWrong(dir)) === undefined) unnoticed.push(`${file}: ${check} -> ${instead}`);
  }
  t.diagnostic(
    `${mutants.length} mutants, ${unnoticed.length} unnoticed, by ${vectors.length + keyVectors.length + accessVectors.length} vectors`,
  );
  assert.deepEqual(unnoticed, []);
});
