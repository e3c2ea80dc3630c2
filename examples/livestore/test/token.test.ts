// The lifetimes of tokens and keys, with an issuer of its own: a real usher issues
// no tokens for seconds.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { makeHttpSync, makeWsSync } from '@livestore/sync-cf/client';
import { withFreshToken, type GetToken } from '@usher-auth/sdk/livestore-client';

import { until } from '../../usher.mjs';
import { startIssuer, type Issuer } from './issuer.ts';
import { openTodos } from './store.ts';
import { openSocket, pull } from './sync.ts';
import { startWorker, type Worker } from './workerd.ts';

let issuer: Issuer;
let worker: Worker;
let stores = 0;

before(async () => {
  issuer = await startIssuer();
  worker = await startWorker(issuer);
});

after(async () => {
  await worker?.close();
  await issuer?.close();
});

const newStore = () => `notes_${++stores}`;
const backend = () => makeWsSync({ url: `ws://${worker.address}` });
/** A client that gets only one token, like a user who has signed out elsewhere. */
const withOnly = (token: string) => {
  let used = false;
  return withFreshToken(backend(), async () => {
    if (used) throw new Error('signed out');
    used = true;
    return token;
  });
};
const full = (storeId: string, lifetime?: number) => issuer.issue({ stores: { [storeId]: 'full' }, lifetime });

test('a token is refused from the second that it expires', async () => {
  const storeId = newStore();
  const token = await issuer.issue({ stores: { [storeId]: 'full' }, lifetime: 60, age: 61 });
  // The verifier's leeway does not apply to LiveStore.
  assert.equal((await pull(worker.address, storeId, { authToken: token })).code, 'token_expired');
});

test('when its token expires, a socket is closed and receives nothing more', async () => {
  const storeId = newStore();
  const writer = await openTodos({ storeId, backend: backend(), authToken: await full(storeId) });
  writer.add('before');
  const short = await issuer.issue({ user: 'grace', stores: { [storeId]: 'read' }, lifetime: 8 });
  const device = await openTodos({ storeId, backend: withOnly(short) });
  const rude = await openSocket(worker.address, storeId, short);
  await rude.pull();
  await until('the event before', () => device.has('before') && rude.text().includes('do before'));

  await until('the close', () => rude.closeCode() !== undefined);
  assert.equal(rude.closeCode(), 4001);
  await until('the client to notice', async () => !(await device.connected()));
  // LiveStore sends to this socket after the one that is still closing.
  const reader = await openTodos({ storeId, backend: backend(), authToken: await full(storeId) });
  rude.send(JSON.stringify({ _tag: 'Request', id: '2', tag: 'SyncWsRpc.Pull', payload: {}, headers: [] }));
  writer.add('after');
  await until('the event after', () => reader.has('after'));
  await until('the confirmation', () => writer.confirmed());
  assert.equal(rude.text().includes('do after'), false);
  assert.equal(device.has('after'), false);
  rude.end();
  await Promise.all([writer.close(), device.close(), reader.close()]);
});

test('tokens change on an open store, and nothing is lost', async () => {
  const storeId = newStore();
  let issued = 0;
  const getToken: GetToken = () => {
    issued++;
    return full(storeId, 4);
  };
  const device = await openTodos({ storeId, backend: withFreshToken(backend(), getToken) });
  const other = await openTodos({ storeId, backend: backend(), authToken: await full(storeId) });
  for (let round = 1; round <= 4; round++) {
    await until(`token ${round}`, () => issued >= round);
    // Both sides send while the token changes.
    device.add(`device ${round}`);
    other.add(`other ${round}`);
  }
  const all = [1, 2, 3, 4].flatMap((round) => [`device ${round}`, `other ${round}`]);
  await until('all events on both sides', () => device.has(...all) && other.has(...all));
  await until('the confirmations', async () => (await device.confirmed()) && (await other.confirmed()));
  await until('a connection', () => device.connected());
  await Promise.all([device.close(), other.close()]);
});

test('over HTTP too, where LiveStore 0.4 drops the payload of a push', async () => {
  const storeId = newStore();
  const http = makeHttpSync({ url: `http://${worker.address}`, livePull: { pollInterval: 200 } });
  const device = await openTodos({ storeId, backend: withFreshToken(http, () => full(storeId)) });
  device.add('over http');
  await until('the confirmation', () => device.confirmed());
  const reader = await openTodos({ storeId, backend: backend(), authToken: await full(storeId) });
  await until('the event', () => reader.has('over http'));
  await Promise.all([device.close(), reader.close()]);
});

test('a kick closes a user’s sockets and refuses their earlier tokens', async () => {
  const storeId = newStore();
  const ada = await openTodos({ storeId, backend: backend(), authToken: await full(storeId) });
  const token = await issuer.issue({ user: 'mallory', stores: { [storeId]: 'full' } });
  const device = await openTodos({ storeId, backend: withOnly(token) });
  const rude = await openSocket(worker.address, storeId, token);
  await rude.pull();
  await until('a connection', () => device.connected());

  const response = await fetch(worker.operators, {
    method: 'POST',
    body: JSON.stringify({ store: storeId, sub: 'mallory' }),
  });
  assert.deepEqual(await response.json(), { closed: 2 });
  await until('the close', () => rude.closeCode() === 4003);
  await until('the client to notice', async () => !(await device.connected()));
  ada.add('without mallory');
  await until('the confirmation', () => ada.confirmed());
  assert.equal(rude.text().includes('without mallory'), false);
  const again = await openSocket(worker.address, storeId, token);
  assert.equal(again.status, 403);
  again.end();
  assert.equal(device.has('without mallory'), false);

  // Later tokens are accepted again.
  await until('a later token to be accepted', async () => {
    const later = await issuer.issue({ user: 'mallory', stores: { [storeId]: 'full' } });
    return (await pull(worker.address, storeId, { authToken: later })).status === 200;
  });
  rude.end();
  await Promise.all([ada.close(), device.close()]);
});

test('a new signing key is accepted without a restart', async () => {
  const storeId = newStore();
  const old = await full(storeId);
  await issuer.rotate();
  // A verifier asks for unknown keys at most every 30 seconds.
  const authToken = await full(storeId);
  await until('the new key', async () => (await pull(worker.address, storeId, { authToken })).status === 200);
  assert.equal((await pull(worker.address, storeId, { authToken: old })).status, 200);
  assert.ok(issuer.fetches() <= 3, `the keys were fetched ${issuer.fetches()} times`);
});
