// Another project can install, type-check and run the package that `npm pack` makes.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

import { newKey, packageDir, readJSON } from './support.mjs';

const manifest = readJSON(join(packageDir, 'package.json'));

function run(cwd, command, ...args) {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: 'utf8' });
  assert.equal(status, 0, `${command} ${args.join(' ')}\n${stdout}\n${stderr}`);
  return stdout;
}

const program = `
import { accessTo, createVerifier, VerifyError, type Access, type Claims, type Verifier, type VerifierConfig, type VerifyErrorCode, type Want } from '@usher-auth/sdk';
import { admit, closeAtExpiry, type Admission, type Ticket } from '@usher-auth/sdk/liveblocks';
import * as livestore from '@usher-auth/sdk/livestore';
import { createTestIssuer, type TestIssuer, type TestToken } from '@usher-auth/sdk/testing';

const config: VerifierConfig = { issuer: 'https://usher.example.com', audience: 'x', jwks: JSON.parse(process.argv[2]!) };
const verifier: Verifier = createVerifier(config);
const want: Want = { store: 'notes', access: 'read' };
// @ts-expect-error both resources
const both: Want = { room: 'a', store: 'b', access: 'read' };
// @ts-expect-error no such access
const odd: Want = { room: 'a', access: 'write' };

async function use(token: string, socket: WebSocket): Promise<Access> {
  try {
    const claims: Claims = await verifier.authorize(token, want);
    const stop: () => void = closeAtExpiry(socket, claims);
    stop();
    const patterns: string[] = Object.keys(claims.perms ?? {});
    // @ts-expect-error claims are read-only
    claims.exp = 0;
    return patterns.length > 0 ? accessTo(claims, { room: 'acme:1' }) : 'none';
  } catch (error) {
    const code: VerifyErrorCode | undefined = error instanceof VerifyError ? error.code : undefined;
    const admission: Admission = await admit(verifier, token, 'acme:1');
    const ticket: Ticket | undefined = admission.ok ? admission.ticket : undefined;
    throw new Error(code ?? ticket?.id);
  }
}

async function issue(): Promise<Claims> {
  const usher: TestIssuer = await createTestIssuer({ audience: 'x' });
  const token: TestToken = { stores: { notes: 'read' } };
  // @ts-expect-error no such access
  const wrong: TestToken = { stores: { notes: 'write' } };
  return createVerifier(usher.verifierConfig).verify(await usher.issue(wrong ? token : {}));
}

declare const process: { argv: string[] };
verifier.verify('x').catch((error: VerifyError) => console.log(error.code, typeof use, typeof issue, typeof livestore, both.access, odd.access));
`;

test('the package installs, type-checks and runs in another project', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'usher-consumer-'));
  t.after(() => rmSync(dir, { recursive: true }));
  const [{ filename, files }] = JSON.parse(
    run(packageDir, 'npm', 'pack', '--json', '--ignore-scripts', '--pack-destination', dir),
  );
  const paths = files.map(({ path }) => path);
  assert.deepEqual(
    paths.filter((path) => !/^(dist\/[\w-]+\.(js|d\.ts)|package\.json|README\.md|LICENSE)$/.test(path)),
    [],
  );
  for (const { types, default: code } of Object.values(manifest.exports)) {
    for (const path of [types, code]) assert.ok(paths.includes(path.replace('./', '')), path);
  }

  writeFileSync(join(dir, 'package.json'), '{"private":true,"type":"module"}');
  run(dir, 'npm', 'install', '--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund', `./${filename}`);
  const installed = readdirSync(join(dir, 'node_modules')).filter((name) => !name.startsWith('.'));
  assert.deepEqual(installed, ['@usher-auth', 'jose'], 'no dependency but jose');

  writeFileSync(join(dir, 'program.ts'), program);
  for (const [module, moduleResolution] of [
    ['NodeNext', 'NodeNext'],
    ['ESNext', 'Bundler'],
  ]) {
    const compilerOptions = {
      module,
      moduleResolution,
      target: 'ES2022',
      lib: ['ES2023', 'DOM'],
      types: [],
      strict: true,
      exactOptionalPropertyTypes: true,
    };
    writeFileSync(join(dir, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['program.ts'] }));
    run(dir, join(packageDir, 'node_modules/.bin/tsc'));
    const output = run(dir, process.execPath, 'program.js', JSON.stringify({ keys: [newKey().jwk] }));
    assert.equal(output, 'token_malformed function function object read write\n', moduleResolution);
  }

  // With the optional peer dependencies, every entry loads.
  for (const name of Object.keys(manifest.peerDependencies ?? {})) {
    symlinkSync(join(packageDir, 'node_modules', name), join(dir, 'node_modules', name));
  }
  const entries = Object.keys(manifest.exports).map((entry) => entry.replace('.', manifest.name));
  run(
    dir,
    process.execPath,
    '--input-type=module',
    '--eval',
    entries.map((entry) => `await import('${entry}');`).join('\n'),
  );
});
