// The code of docs/liveblocks.md is extracted and run.
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';

import { decodeJwt } from 'jose';

import { startUsher, until } from '../../usher.mjs';
import { here, refuseConnections, stands, startPage, startServer } from './support.mjs';

const app = 'https://app.example.com';
const room = 'acme:design:1';

let blocks, directory, usher, server;
const opened = [];

before(async () => {
  const guide = await readFile(here('../../docs/liveblocks.md'), 'utf8');
  blocks = new Map([...guide.matchAll(/^```\w+ (\S+)\n(.*?)^```$/gms)].map(([, name, text]) => [name, text]));
  directory = await mkdtemp(join(tmpdir(), 'usher-guide-'));
  await symlink(here('node_modules'), join(directory, 'node_modules'));
  usher = await startUsher({ flags: ['--origins', app] });
  server = await startServer(usher);
});

afterEach(async () => {
  for (const close of opened.splice(0)) await close();
});

after(async () => {
  await server?.stop();
  await usher?.stop();
  await rm(directory, { recursive: true });
});

/** Opens a page of the guide by name, with an origin and a session cookie. */
async function openPage(name, { cookie = usher.cookie('ada'), origin = app } = {}) {
  const file = join(directory, name);
  await writeFile(file, blocks.get(name));
  const hosts = {
    [app]: usher.url, // through the proxy, for /api/auth
    'https://usher.example.com': usher.url,
    'https://sync.example.com': server.url,
  };
  const page = await startPage({ module: pathToFileURL(file).href, origin, hosts, cookie });
  opened.push(page.stop);
  return {
    ...page,
    /** The page's state, once a room has the status and usher has sent this many answers. */
    reach: (id, status, answers) =>
      until(`${status} in ${id} after ${answers}`, async () => {
        const state = await page.call('state', id);
        return stands(state, status) && state.statuses.length >= answers && state;
      }),
  };
}

for (const name of ['sync.mjs', 'server.mjs']) {
  test(`${name} is the file that the other tests use`, async () => {
    assert.equal(blocks.get(name), await readFile(here(name), 'utf8'));
  });
}

for (const name of ['same-origin.mjs', 'cross-origin.mjs']) {
  test(`${name} enters a room`, async () => {
    const page = await openPage(name);
    await page.call('enter', room);
    const { self, statuses } = await page.reach(room, 'connected', 1);
    assert.equal(self.id, 'ada');
    assert.equal(self.canWrite, true);
    assert.deepEqual(statuses, [200]);
  });

  test(`${name} stops when refused, and continues after sign-in`, async () => {
    const page = await openPage(name, { cookie: '' });
    await page.call('enter', room);
    const signedOut = await page.reach(room, 'disconnected', 1);
    assert.deepEqual(signedOut.statuses, [401]);
    assert.match(signedOut.errors[0], /signed in/i);

    await page.call('signIn', usher.cookie('ada'));
    await page.reach(room, 'connected', 2);
    await page.call('enter', 'globex:1');
    const { statuses, errors } = await page.reach('globex:1', 'disconnected', 3);
    assert.deepEqual(statuses, [401, 200, 403]);
    assert.match(errors[1], /No grant covers this request/);
  });

  test(`${name} retries after 503`, async () => {
    const page = await openPage(name);
    const postgres = await refuseConnections(usher.databaseUrl);
    try {
      await page.call('enter', room);
      const { statuses } = await page.reach(room, 'connecting', 2);
      assert.deepEqual(new Set(statuses), new Set([503]));
    } finally {
      await postgres.restore();
    }
    const { statuses } = await page.reach(room, 'connected', 3);
    assert.equal(statuses.at(-1), 200);
  });
}

test('usher does not serve pages of an origin that is not listed', async () => {
  const page = await openPage('cross-origin.mjs', { origin: 'https://other.example.com' });
  await page.call('enter', room);
  const { statuses } = await page.reach(room, 'connecting', 2);
  assert.deepEqual(new Set(statuses), new Set(['blocked']));
});

test('without a room the token holds the permissions in the guide', async () => {
  const { perms } = decodeJwt(await usher.token('ada', {}));
  assert.equal(JSON.stringify(perms), JSON.stringify(JSON.parse(blocks.get('perms'))));
});
