// Tokens from a real usher, over POST /api/auth; a real LiveStore worker; real clients.
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { makeWsSync } from '@livestore/sync-cf/client';
import type { GetToken } from '@usher-auth/sdk/livestore-client';
import { createTestIssuer } from '@usher-auth/sdk/testing';
import { decodeJwt, decodeProtectedHeader } from 'jose';

import { startUsher, until, type Usher } from '../../usher.mjs';
import { openStore, usherTokens } from '../src/client.ts';
import { openTodos, todos } from './store.ts';
import { pull } from './sync.ts';
import { startWorker, type Worker } from './workerd.ts';

const storeId = 'acme_notes'; // in usher dev's data, ada has FULL, grace READ, mallory nothing

let usher: Usher;
let worker: Worker;
let directory: string;
let devices = 0;

before(async () => {
  usher = await startUsher();
  worker = await startWorker(usher);
  directory = await mkdtemp(join(tmpdir(), 'usher-clients-'));
});

after(async () => {
  await worker?.close();
  await usher?.stop();
  if (directory) await rm(directory, { recursive: true });
});

/** Opens the store like the example. */
async function open(getToken: GetToken) {
  const clientId = `device-${++devices}`;
  const syncUrl = `ws://${worker.address}`;
  return todos(await openStore({ storeId, syncUrl, getToken, clientId, directory: join(directory, clientId) }));
}

const as = (user: keyof Usher['sessions']) => usherTokens(usher.url, usher.cookie(user));

const tokenOf = (user: keyof Usher['sessions'], store = storeId) =>
  as(user)({ storeId: store, clientId: 'test', signal: new AbortController().signal });

test('a user with FULL writes, and a user with READ sees it', async () => {
  const [ada, grace] = await Promise.all([open(as('ada')), open(as('grace'))]);
  ada.add('first');
  await until('ada’s event at grace', () => grace.has('first'));
  ada.add('second');
  await until('ada’s next event at grace', () => grace.has('second'));
  await until('the confirmation', () => ada.confirmed());
  await Promise.all([ada.close(), grace.close()]);
});

test('a user without access gets no token, and works offline', async () => {
  await assert.rejects(tokenOf('mallory'), /usher answered 403/);
  const mallory = await open(as('mallory'));
  mallory.add('from mallory');
  await until('a queued event', async () => (await mallory.pending()) === 1);
  assert.equal(await mallory.connected(), false);
  assert.deepEqual(mallory.ids(), ['from mallory']);
  await mallory.close();
});

test('a token that usher did not issue for this store is refused', async () => {
  const good = await tokenOf('ada');
  const { kid } = decodeProtectedHeader(good);
  const stranger = await createTestIssuer({ audience: 'livestore' });
  const forged = await stranger.issue({ header: { kid }, claims: decodeJwt(good) });
  const cases: Record<string, [token: string | undefined, store: string, code: string | undefined]> = {
    good: [good, storeId, undefined],
    'no token': [undefined, storeId, 'token_missing'],
    garbage: ['garbage', storeId, 'token_invalid'],
    'another key under usher’s kid': [forged, storeId, 'token_invalid'],
    'another signature': [`${good.slice(0, -2)}${good.endsWith('AA') ? 'BA' : 'AA'}`, storeId, 'token_invalid'],
    'another store': [good, 'acme_plans', 'forbidden'],
    'another audience': [await usher.token('ada', { audience: 'liveblocks' }), storeId, 'token_invalid'],
  };
  for (const [name, [token, store, code]] of Object.entries(cases)) {
    const answer = await pull(worker.address, store, { authToken: token });
    // LiveStore answers every refusal with 400.
    assert.deepEqual([answer.status, answer.code], [code === undefined ? 200 : 400, code], `${name}: ${answer.body}`);
  }
});

test('a push with READ is refused and reaches no client', async () => {
  const [ada, grace] = await Promise.all([open(as('ada')), open(as('grace'))]);
  const refusals = () => worker.log().split(`refused forbidden ${storeId}`).length;
  const before = refusals();
  grace.add('not allowed');
  await until('the refusal', () => refusals() > before);
  ada.add('allowed');
  await until('ada’s event at grace', () => grace.has('allowed'));
  const late = await open(as('ada'));
  await until('ada’s event at a new device', () => late.has('allowed'));
  for (const device of [ada, late]) assert.equal(device.has('not allowed'), false);
  // LiveStore undoes nothing: the row stays on its device, unconfirmed.
  assert.equal(grace.has('not allowed'), true);
  assert.equal(await grace.pending(), 1);
  await Promise.all([ada.close(), grace.close(), late.close()]);
});

test('events committed while signed out are sent after sign-in', async () => {
  let cookie = '';
  const ada = await open((store) => usherTokens(usher.url, cookie)(store));
  ada.add('while signed out');
  await until('a queued event', async () => (await ada.pending()) === 1);
  const grace = await open(as('grace'));
  assert.equal(grace.has('while signed out'), false);
  cookie = usher.cookie('ada');
  await until('the queued event at grace', () => grace.has('while signed out'));
  await Promise.all([ada.close(), grace.close()]);
});

test('while usher is down, its tokens are accepted', async () => {
  const [ada, authToken] = await Promise.all([open(as('ada')), tokenOf('grace')]);
  await until('a connection', () => ada.connected());
  await usher.stop();
  await assert.rejects(fetch(usher.jwksUrl));
  // An open connection, and a new one.
  ada.add('without usher');
  const grace = await openTodos({ storeId, backend: makeWsSync({ url: `ws://${worker.address}` }), authToken });
  await until('ada’s event at grace', () => grace.has('without usher'));
  await until('the confirmation', () => ada.confirmed());
  await Promise.all([ada.close(), grace.close()]);
});
