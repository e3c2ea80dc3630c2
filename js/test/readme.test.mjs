import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { pathToFileURL } from 'node:url';

import { newKey, packageDir } from './support.mjs';

const readme = readFileSync(join(packageDir, 'README.md'), 'utf8');
const issuer = 'https://usher.example.com';
const key = newKey();
const jwks = JSON.stringify({ keys: [key.jwk] });
const snippets = [];
let testingFile;
let fetchKeys;

const token = (claims) => {
  const seconds = Math.floor(Date.now() / 1000);
  return key.token({ iss: issuer, iat: seconds, exp: seconds + 300, ...claims });
};

before(async () => {
  const dir = mkdtempSync(join(tmpdir(), 'usher-readme-'));
  process.on('exit', () => rmSync(dir, { recursive: true }));
  mkdirSync(join(dir, 'node_modules/@usher-auth'), { recursive: true });
  symlinkSync(packageDir, join(dir, 'node_modules/@usher-auth/sdk'));
  writeFileSync(join(dir, 'jwks.json'), jwks);

  const cwd = process.cwd();
  process.chdir(dir);
  for (const [, code] of readme.matchAll(/^```js\n(.*?)^```/gms)) {
    const file = join(dir, `snippet${snippets.length}.mjs`);
    writeFileSync(file, code);
    if (code.includes("from 'node:test'")) testingFile = file;
    else snippets.push(await import(pathToFileURL(file)));
  }
  process.chdir(cwd);

  globalThis.fetch = async (url) => {
    assert.equal(url, `${issuer}/.well-known/jwks.json`);
    return fetchKeys();
  };
});

test('every snippet is tested', () => {
  assert.equal(snippets.length, 3);
  assert.ok(testingFile);
});

test('Verify', async (t) => {
  const warned = t.mock.method(console, 'warn', () => {});
  const [{ handle }] = snippets;
  const ask = async (bearer) => {
    const response = await handle(
      new Request('https://sync.example.com/', { headers: bearer ? { authorization: `Bearer ${bearer}` } : {} }),
    );
    return [response.status, await response.json(), response.headers.get('retry-after')];
  };
  const good = token({ aud: 'livestore', stores: { 'acme_*': 'read' } });

  fetchKeys = () => Promise.reject(new TypeError('fetch failed'));
  assert.deepEqual(await ask(good), [503, { error: 'verification keys are unavailable, try again' }, '1']);

  fetchKeys = () => new Response(jwks);
  // Another attempt is due after a second.
  while ((await ask(good))[0] === 503) await new Promise((resolve) => setTimeout(resolve, 50));
  assert.deepEqual(await ask(good), [200, { user: 'alice' }, null]);
  assert.deepEqual(await ask(token({ aud: 'livestore', stores: { beta: 'full' } })), [
    403,
    { error: 'access denied' },
    null,
  ]);
  assert.deepEqual(await ask(token({ aud: 'livestore', iat: 1, exp: 2 })), [401, { error: 'token expired' }, null]);
  assert.deepEqual(await ask(token({ aud: 'other' })), [401, { error: 'invalid token' }, null]);
  assert.deepEqual(await ask(), [401, { error: 'invalid token' }, null]);
  const codes = new Set(warned.mock.calls.map(({ arguments: [, code] }) => code));
  assert.deepEqual(
    [...codes],
    ['keys_unavailable', 'forbidden', 'token_expired', 'audience_mismatch', 'token_malformed'],
  );
});

test('Configuration', async () => {
  const [, { verifier }] = snippets;
  fetchKeys = () => assert.fail('the keys are given');
  const claims = await verifier.verify(token({ aud: 'livestore' }));
  assert.equal(claims.sub, 'alice');
});

test('Liveblocks', async () => {
  const [, , { connected }] = snippets;
  fetchKeys = () => new Response(jwks);
  const enter = async (tok) => {
    const socket = Object.assign(new EventTarget(), { close: (code) => sessions.push(code) });
    const sessions = [];
    await connected(socket, `wss://sync.example.com/v8?roomId=acme:1&tok=${tok}`, (...session) =>
      sessions.push(session),
    );
    socket.dispatchEvent(new Event('close'));
    return sessions;
  };
  const claims = { aud: 'liveblocks', uid: 'alice', perms: { 'acme:*': ['room:write', 'comments:write'] } };
  assert.deepEqual(await enter(token(claims)), [
    ['acme:1', { id: 'alice', info: undefined, scopes: ['room:write', 'comments:write'] }],
  ]);
  assert.deepEqual(await enter(token({ ...claims, perms: {} })), [4001]);
  assert.deepEqual(await enter(token({ ...claims, iat: 1, exp: 2 })), [4100]);
});

test('Testing', () => {
  const { NODE_TEST_CONTEXT: _, ...env } = process.env; // or the child would report to this run
  const args = ['--test-reporter=tap', testingFile];
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--test', ...args], { encoding: 'utf8', env });
  assert.equal(status, 0, stdout + stderr);
  assert.match(stdout, /^# pass 1$/m);
});

test('every entry is listed, and no other', () => {
  const { exports } = JSON.parse(readFileSync(join(packageDir, 'package.json'), 'utf8'));
  const [, table] = readme.match(/^\| import \|.*?\n(.*?)^## /ms);
  const listed = [...table.matchAll(/^\| `(.*?)` \|/gm)].map(([, entry]) => entry.replace('@usher-auth/sdk', '.'));
  assert.deepEqual(listed, Object.keys(exports));
});

test('the options of issue are listed, and no other', () => {
  const declared = readFileSync(join(packageDir, 'dist/testing.d.ts'), 'utf8').match(/interface TestToken \{(.*?)^\}/ms)[1];
  const options = [...declared.matchAll(/^ {4}(?:readonly )?(\w+)\??:/gm)].map(([, name]) => name);
  const [, listed] = readme.match(/`usher\.issue\(\{ (.*?) \}\)`/);
  assert.deepEqual(listed.split(', ').sort(), options.sort());
});

test('every code is explained, and no other', () => {
  const declared = readFileSync(join(packageDir, 'dist/errors.d.ts'), 'utf8').match(/VerifyErrorCode = (.*?);/s)[1];
  const codes = [...declared.matchAll(/'(\w+)'/g)].map(([, code]) => code);
  const [, table] = readme.match(/^## Refusals$(.*?)^## /ms);
  const explained = [...table.matchAll(/^\| `(\w+)` \|/gm)].map(([, code]) => code);
  assert.deepEqual(explained.sort(), codes.sort());
});

test('every option is explained, and no other', () => {
  const declared = readFileSync(join(packageDir, 'dist/verifier.d.ts'), 'utf8').match(
    /interface VerifierConfig \{(.*?)^\}/ms,
  )[1];
  const options = [...declared.matchAll(/^ {4}(\w+)\??:/gm)].map(([, name]) => name);
  const [, table] = readme.match(/^## Configuration$(.*?)^Keys are /ms);
  const explained = [...table.matchAll(/^\| (`.*?`) \|/gm)].flatMap(([, names]) =>
    names.replaceAll('`', '').split(', '),
  );
  assert.deepEqual(explained.sort(), options.sort());
});
