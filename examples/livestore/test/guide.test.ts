// The code of docs/livestore.md is compared, type-checked and run.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { after, before, test } from 'node:test';

import { startUsher } from '../../usher.mjs';
import { readBlocks, startBlock } from './guide.ts';
import { startIssuer, type Issuer } from './issuer.ts';
import { pull, push } from './sync.ts';
import { startWorker } from './workerd.ts';

const storeId = 'acme_notes';

let blocks: Map<string, string>;
let folder: string; // inside the example, so that packages are found
let issuer: Issuer;

before(async () => {
  blocks = await readBlocks();
  folder = await mkdtemp('guide-');
  issuer = await startIssuer();
});

after(async () => {
  await issuer.close();
  await rm(folder, { recursive: true });
});

for (const name of ['ts src/worker.ts', 'ts src/client.ts', 'ts src/livestore.worker.ts', 'ts src/livestore.cookie.worker.ts', 'capnp workerd.capnp', 'js build.mjs']) {
  test(`${name} is the file that the other tests use`, async () => {
    assert.equal(blocks.get(name), await readFile(name.split(' ')[1]!, 'utf8'));
  });
}

test('the guide lists the installed packages', async () => {
  const { dependencies } = JSON.parse(await readFile('package.json', 'utf8'));
  const { version } = JSON.parse(await readFile('node_modules/@usher-auth/sdk/package.json', 'utf8'));
  assert.deepEqual(JSON.parse(blocks.get('json dependencies')!), { ...dependencies, '@usher-auth/sdk': version });
});

test('cookie.ts takes the token from its cookie, for pages of the listed origin only', async () => {
  const worker = await startBlock(folder, 'cookie.ts', blocks.get('ts cookie.ts')!, issuer);
  try {
    const cookie = `__Host-usher=${await issuer.issue({ stores: { [storeId]: 'full' } })}`;
    const origin = 'https://app.example.com';
    const good = { headers: { cookie, origin } };
    assert.equal((await pull(worker.address, storeId, good)).status, 200);
    const event = { name: 'v1.TodoAdded', args: { id: '1', text: 'with a cookie' } };
    assert.match((await push(worker.address, storeId, good, event)).body, /"Success"/);
    assert.match((await pull(worker.address, storeId, good)).body, /with a cookie/);
    const foreign = { headers: { cookie, origin: 'https://evil.example.com' } };
    assert.equal((await pull(worker.address, storeId, foreign)).code, 'origin_not_allowed');
  } finally {
    await worker.close();
  }
});

test('author.ts accepts events from their author only', async () => {
  const worker = await startBlock(folder, 'author.ts', blocks.get('ts author.ts')!, issuer);
  try {
    const authToken = await issuer.issue({ user: 'ada', stores: { [storeId]: 'full' } });
    const by = (author: string) => ({ name: 'v1.TodoAdded', args: { id: '1', text: `by ${author}`, author } });
    assert.match((await push(worker.address, storeId, { authToken }, by('grace'))).body, /author_mismatch/);
    assert.match((await push(worker.address, storeId, { authToken }, by('ada'))).body, /"Success"/);
    const { body } = await pull(worker.address, storeId, { authToken });
    assert.deepEqual([body.includes('by ada'), body.includes('by grace')], [true, false]);
  } finally {
    await worker.close();
  }
});

test('the commands work as in the guide', async () => {
  const usher = await startUsher();
  const worker = await startWorker(usher);
  try {
    const result = spawnSync('bash', ['-euo', 'pipefail', '-c', blocks.get('sh')!], {
      encoding: 'utf8',
      env: {
        ...process.env,
        USHER_DEV_DIR: usher.directory,
        USHER_URL: usher.url,
        SYNC_URL: `ws://${worker.address}`,
        DATA_DIR: folder,
      },
    });
    const [atAda, atGrace, ...atMallory] = result.stdout.trim().split('\n');
    assert.match(atAda!, /^\[ \] \w+ buy milk$/, result.stderr);
    assert.equal(atGrace, atAda);
    assert.deepEqual(atMallory, []);
    assert.match(result.stderr, /no token, working offline: Error: usher answered 403/);
  } finally {
    await worker.close();
    await usher.stop();
  }
});
