// Five versions of the real client, which parse tokens differently, with a real usher.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { createRemoteJWKSet, jwtVerify } from 'jose';

import { startUsher, until } from '../../usher.mjs';
import { refuseConnections, stands, startClient, startServer } from './support.mjs';

const versions = ['client-1.12', 'client-2.24', 'client-3.12', 'client-3.19', '@liveblocks/client'];

let usher, server;
const clients = new Map();

before(async () => {
  usher = await startUsher();
  server = await startServer(usher);
  for (const version of versions) clients.set(version, await startClient(version, { usher, baseUrl: server.url }));
});

after(async () => {
  for (const client of clients.values()) await client.stop();
  await server?.stop();
  await usher?.stop();
});

/** Waits until a room of a client has a status, and returns its state. */
async function reach(client, status, user, room) {
  let state;
  const reached = async () => {
    state = await client.call('state', user, room);
    return stands(state, status);
  };
  await until(`${user} ${status} in ${room}`, reached).catch((error) => {
    throw new Error(`${error.message}, but: ${JSON.stringify(state)}`);
  });
  return state;
}

async function enter(client, user, room) {
  await client.call('enter', user, room);
  return reach(client, 'connected', user, room);
}

for (const version of versions) {
  test(`${version}: uses and caches a token, and stops when refused`, async () => {
    const client = clients.get(version);
    const { self, answers } = await enter(client, 'ada', 'acme:design:1');
    assert.equal(self.id, 'ada');
    assert.equal(self.info.name, 'Ada');
    assert.equal(self.canWrite, true);
    assert.deepEqual(statuses(answers), [['acme:design:1', 200]]);

    const { payload } = await jwtVerify(answers[0].token, createRemoteJWKSet(new URL(usher.jwksUrl)), {
      issuer: usher.issuer,
      audience: usher.audience,
      typ: 'at+jwt',
      algorithms: ['EdDSA'],
    });
    assert.equal(payload.sub, 'ada');

    // The token covers this room too, so the client sends no request.
    const second = await enter(client, 'ada', 'acme:design:2');
    assert.equal(second.self.canWrite, true);
    assert.equal(second.answers.length, 1);

    await client.call('enter', 'ada', 'globex:1');
    const refused = await reach(client, 'disconnected', 'ada', 'globex:1');
    assert.match(refused.error, /No grant covers this request/);
    assert.deepEqual(statuses(refused.answers.slice(1)), [['globex:1', 403]]);
  });

  test(`${version}: READ is read-only`, async () => {
    const { self } = await enter(clients.get(version), 'grace', 'acme:design:1');
    assert.equal(self.id, 'grace');
    assert.equal(self.canWrite, false);
  });
}

test('503 is retried until usher is back', async () => {
  const all = [...clients.values()];
  const postgres = await refuseConnections(usher.databaseUrl);
  try {
    for (const client of all) await client.call('enter', 'mallory', 'globex:1');
    for (const client of all) {
      const { answers } = await until('a second try', async () => {
        const state = await client.call('state', 'mallory', 'globex:1');
        return state.answers.length >= 2 && state;
      });
      for (const { status } of answers) assert.equal(status, 503);
    }
  } finally {
    await postgres.restore();
  }
  for (const client of all) {
    const { self, answers } = await reach(client, 'connected', 'mallory', 'globex:1');
    assert.equal(self.canWrite, false);
    assert.equal(answers.at(-1).status, 200);
    // Meanwhile no client has repeated the refused requests.
    const refused = await client.call('state', 'ada', 'globex:1');
    assert.equal(refused.status, 'disconnected');
    assert.equal(refused.answers.length, 2);
  }
});

test('clients wait for a rate limit', async () => {
  const limited = await startUsher({ flags: ['--rate-limit', '60'] }); // 60 immediately, then one per second
  const started = [];
  try {
    const config = { usher: limited, baseUrl: server.url };
    for (const version of [versions[0], versions.at(-1)]) started.push(await startClient(version, config));
    const refused = () => limited.token('ada', {}).then(() => false, (error) => /answered 429/.test(error.message));
    await until('the limit to be reached', refused);
    for (const client of started) await client.call('enter', 'ada', 'globex:1'); // answered once the limit allows it
    const tries = [];
    for (const client of started) {
      const { answers } = await reach(client, 'disconnected', 'ada', 'globex:1');
      assert.equal(answers.pop().status, 403);
      tries.push(...answers.map(({ status }) => status));
    }
    assert.deepEqual(new Set(tries), new Set([429]));
  } finally {
    for (const client of started) await client.stop();
    await limited.stop();
  }
});

const statuses = (answers) => answers.map(({ room, status }) => [room, status]);
