// The code blocks of docs/livestore.md, by name.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { build } from 'esbuild';

import { startWorker } from './workerd.ts';

export async function readBlocks(): Promise<Map<string, string>> {
  const guide = await readFile('../../docs/livestore.md', 'utf8');
  return new Map([...guide.matchAll(/^```(.+)\n([^]*?)^```$/gm)].map(([, name, text]) => [name!, text!]));
}

/** Type-checks, bundles and runs a worker of the guide in a folder of this example. */
export async function startBlock(folder: string, name: string, text: string, keys: { issuer: string; jwksUrl: string }) {
  await writeFile(join(folder, name), text);
  await writeFile(
    join(folder, 'tsconfig.json'),
    JSON.stringify({ extends: '../tsconfig.worker.json', include: [name, '../src/worker.ts'] }),
  );
  const check = spawnSync('tsc', ['-p', folder], { encoding: 'utf8' });
  assert.equal(check.status, 0, check.stdout);
  await copyFile('workerd.capnp', join(folder, 'workerd.capnp'));
  await build({
    entryPoints: [join(folder, name)],
    outfile: join(folder, 'dist/worker.js'),
    bundle: true,
    format: 'esm',
    target: 'es2022',
    platform: 'browser',
    conditions: ['workerd', 'worker', 'browser'],
    external: ['cloudflare:*'],
    // workerd.capnp names an entry point for operators, which the guide's variants lack.
    footer: { js: 'export const operators = { fetch: () => new Response(null, { status: 404 }) };' },
  });
  return startWorker(keys, folder);
}
