// The real client, a real Liveblocks engine that verifies offline, and a real usher.
import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';

import { createClient } from '@liveblocks/client';
import { createTestIssuer } from '@usher-auth/sdk/testing';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import WebSocket from 'ws';

import { startUsher, until } from '../../usher.mjs';
import { recordingClient } from './client.mjs';
import { stands, startProgram, startServer, startServerWithClock } from './support.mjs';

let usher, server;
const opened = []; // closed after each test

before(async () => {
  usher = await startUsher();
  server = await startServer(usher);
});

afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close();
});

after(async () => {
  await server?.stop();
  await usher?.stop();
});

/** A client in a user's browser, or with the test's `authEndpoint`. */
function open(user, { baseUrl = server.url, authEndpoint } = {}) {
  const client = recordingClient(createClient, { baseUrl, usher, user, authEndpoint });
  opened.push(client.leave);
  return client;
}

const settled = (room, status) =>
  until(`${status} in ${room.id}`, () => stands({ status: room.getStatus(), self: room.getSelf() }, status));

async function enter(client, id, initialStorage) {
  const room = client.enter(id, initialStorage);
  await settled(room, 'connected');
  return room;
}

/** A sync server whose clock stands still, and an issuer that it trusts. */
async function startClocked(options) {
  const issuer = await createTestIssuer({ audience: 'liveblocks' });
  const { issuer: name, audience, jwks } = issuer;
  const other = await startServerWithClock({ issuer: name, audience, jwks, ...options }, issuer.now());
  opened.push(other.stop);
  return { issuer, other };
}

/** A socket that uses the protocol without the client's checks. */
function rawSocket(room, token, { url } = server) {
  const query = new URLSearchParams({ roomId: room, tok: token, version: '3.24.2' });
  const socket = new WebSocket(`${url.replace('http', 'ws')}/v8?${query}`);
  opened.push(() => socket.terminate());
  const received = [];
  let closed;
  socket.on('message', (data) => received.push(...[JSON.parse(data)].flat()));
  socket.on('close', (code, reason) => (closed = [code, reason.toString()]));
  return {
    send: (message) => socket.send(JSON.stringify([message])),
    sendRaw: (data) => socket.send(data),
    /** Reads nothing, and so does not answer a close, until resumed. */
    pause: () => socket.pause(),
    resume: () => socket.resume(),
    next: (type) => until(`message ${type}`, () => received.find((message) => message.type === type)),
    closed: () => until('a close', () => closed),
  };
}

test('a writer and a reader see each other', async () => {
  const reader = open('grace');
  const ada = await enter(open('ada'), 'acme:design:1', { n: 1 });
  const grace = await enter(reader, 'acme:design:1');
  const seen = (room, id) => until(`${id} in the room`, () => room.getOthers().find((other) => other.id === id));

  for (const [room, id, name, canWrite] of [
    [grace, 'ada', 'Ada', true],
    [ada, 'grace', 'Grace', false],
  ]) {
    const other = await seen(room, id);
    assert.equal(other.info.name, name);
    assert.equal(other.canWrite, canWrite);
  }
  // Only after both see each other: while another user enters, the client can send
  // its old presence after the new one.
  ada.updatePresence({ cursor: 7 });
  grace.updatePresence({ cursor: 8 });
  await until('ada’s cursor', async () => (await seen(grace, 'ada')).presence.cursor === 7);
  await until('grace’s cursor', async () => (await seen(ada, 'grace')).presence.cursor === 8);

  const { root } = await ada.getStorage();
  const { root: copy } = await grace.getStorage();
  root.set('n', 42);
  await until('what ada wrote', () => copy.get('n') === 42);
  assert.throws(() => copy.set('n', 43), /read only/);

  reader.leave();
  await until('ada alone', () => ada.getOthers().length === 0);
});

test('the server refuses messages that READ does not allow', async (t) => {
  const room = 'acme:design:2';
  const ada = await enter(open('ada'), room, { n: 1 });
  const { root } = await ada.getStorage();
  root.set('n', 42);
  await until('its confirmation', () => ada.getStorageStatus() === 'synchronized');

  const forbidden = {
    storage: { type: 201, ops: [{ opId: '9:0', type: 3, id: 'root', data: { n: 666 } }] },
    Yjs: { type: 301, update: 'AAA=' },
    'a new feed': { type: 512, feedId: 'news' },
    'a feed’s message': { type: 515, feedId: 'news', data: {} },
  };
  for (const [name, message] of Object.entries(forbidden)) {
    await t.test(name, async () => {
      const socket = rawSocket(room, await usher.token('grace', { room }));
      const { scopes } = await socket.next(104);
      assert.equal(scopes.includes('room:write'), false);
      socket.send(message);
      const { reason } = await socket.next(299);
      assert.equal(reason, 'Your token does not allow this');
    });
  }
  // The engine's storage, as a new client gets it.
  const grace = await enter(open('grace'), room);
  assert.equal((await grace.getStorage()).root.get('n'), 42);
  assert.equal(root.get('n'), 42);
});

test('FULL allows the same messages', async () => {
  const room = 'acme:design:3';
  const socket = rawSocket(room, await usher.token('ada', { room }));
  await socket.next(104);
  socket.send({ type: 201, ops: [{ opId: '1:0', type: 3, id: 'root', data: { n: 5 } }] });
  await socket.next(201); // the confirmation
  const grace = await enter(open('grace'), room);
  assert.equal((await grace.getStorage()).root.get('n'), 5);
});

test('permissions for single features are enforced, as in tokens of /v2/authorize-user', async () => {
  const { issuer, other } = await startClocked();
  const room = 'acme:design:1';
  const join = async (...names) => {
    const token = await issuer.issue({ rooms: {}, claims: { perms: { [room]: names } } });
    const socket = rawSocket(room, token, other);
    await socket.next(104);
    return socket;
  };
  const readStorage = { type: 200 };
  const listFeeds = { type: 510, requestId: 'a' };
  const addFeed = { type: 512, requestId: 'b', feedId: 'news' };

  const writer = await join('room:write', 'storage:none', 'feeds:read');
  writer.send(listFeeds);
  await writer.next(500); // the list
  writer.send(addFeed);
  await writer.next(299);
  const another = await join('room:write', 'storage:none');
  another.send(readStorage);
  await another.next(299);
  const reader = await join('room:read', 'feeds:write');
  reader.send(addFeed);
  await reader.next(501); // the new feed
});

test('invalid messages close one socket and affect no other', async () => {
  const room = 'acme:design:4';
  const ada = await enter(open('ada'), room);
  const token = await usher.token('grace', { room });
  const nonsense = {
    text: 'not JSON',
    bytes: Buffer.from([0, 159]),
    'a message that the engine quotes': `[{"type":"${'x'.repeat(10_000)}"}]`,
  };
  for (const [name, data] of Object.entries(nonsense)) {
    const socket = rawSocket(room, token);
    await socket.next(104);
    socket.sendRaw(data);
    assert.equal((await socket.closed())[0], 4000, name);
  }
  assert.equal(ada.getStatus(), 'connected');
});

test('an invalid token closes the socket with 4001, and the client stops', async (t) => {
  const room = 'acme:design:1';
  const good = await usher.token('ada', { room });
  const header = decodeProtectedHeader(good);
  const payload = decodeJwt(good);
  const stranger = await createTestIssuer({ audience: usher.audience });
  const unsigned = [{ ...header, alg: 'none' }, payload].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'));
  const cases = {
    'no grant for the room': ['globex:1', good, 'You have no access to this room'],
    'another key under usher’s kid': [room, await stranger.issue({ header: { kid: header.kid }, claims: payload }), 'Invalid token'],
    'alg none': [room, `${unsigned.join('.')}.`, 'Invalid token'],
    'another issuer': [room, await stranger.issue({ rooms: { [room]: 'full' } }), 'Invalid token'],
    'another signature': [room, changed(good), 'Invalid token'],
  };
  for (const [name, [id, token, reason]] of Object.entries(cases)) {
    await t.test(name, async () => {
      const client = open('ada', { authEndpoint: async () => ({ token }) });
      await settled(client.enter(id), 'disconnected');
      assert.deepEqual(client.sockets.map(({ closed }) => closed), [{ code: 4001, reason }]);
    });
  }
  await t.test('garbage', async () => {
    assert.deepEqual(await rawSocket(room, 'garbage').closed(), [4001, 'Invalid token']);
  });
});

test('without usher’s keys the client is told to reconnect', async () => {
  const { other } = await startClocked({ jwks: 'http://127.0.0.1:1' });
  const socket = rawSocket('acme:design:1', await usher.token('ada', {}), other);
  assert.equal((await socket.closed())[0], 1013);
});

/** The same token with one bit of its signature flipped. */
function changed(token) {
  const [header, payload, signature] = token.split('.');
  const bytes = Buffer.from(signature, 'base64url');
  bytes[0] ^= 1;
  return `${header}.${payload}.${bytes.toString('base64url')}`;
}

test('an expiring token closes the socket with 4109, and the client reconnects with a new one', async () => {
  const room = 'acme:design:1';
  const { issuer, other } = await startClocked({ leeway: 0 });
  let asked = 0;
  const client = open('ada', {
    baseUrl: other.url,
    // The client does not cache a token with such a short lifetime.
    authEndpoint: async () => (asked++, { token: await issuer.issue({ rooms: { [room]: 'full' }, lifetime: 1 }) }),
  });
  const entered = await enter(client, room, { n: 1 });
  (await entered.getStorage()).root.set('n', 42);
  await until('its confirmation', () => entered.getStorageStatus() === 'synchronized');

  issuer.advance(2);
  await other.setClock(issuer.now());
  await until('a second socket', () => client.sockets.length === 2);
  await settled(entered, 'connected');
  assert.deepEqual(client.sockets.map(({ closed }) => closed?.code), [4109, undefined]);
  assert.equal(asked, 2);
  assert.equal((await entered.getStorage()).root.get('n'), 42);
});

test('messages after the expiry of a token are ignored, even if the client ignores the close', async () => {
  const room = 'acme:design:1';
  const { issuer, other } = await startClocked({ leeway: 0 });
  const rooms = { [room]: 'full' };
  const authEndpoint = async () => ({ token: await issuer.issue({ rooms }) });
  const ada = await enter(open('ada', { baseUrl: other.url, authEndpoint }), room, { n: 42 });
  const { root } = await ada.getStorage();

  const socket = rawSocket(room, await issuer.issue({ rooms, lifetime: 1 }), other);
  await socket.next(104);
  socket.send({ type: 100, targetActor: -1, data: {} });
  await until('the other one', () => ada.getOthers().length === 1);
  socket.pause();
  issuer.advance(2);
  await other.setClock(issuer.now());
  await until('ada alone', () => ada.getOthers().length === 0);
  socket.send({ type: 201, ops: [{ opId: '1:0', type: 3, id: 'root', data: { n: 666 } }] });
  socket.resume();
  assert.equal((await socket.closed())[0], 4109);

  root.set('last', true); // the server handles it after everything before
  await until('its confirmation', () => ada.getStorageStatus() === 'synchronized');
  assert.equal(root.get('n'), 42);
});

test('a token that has expired when connecting closes the socket with 4100, and the client slows down', async () => {
  const room = 'acme:design:1';
  const { issuer, other } = await startClocked();
  const lifetime = 300; // the client counts it by its own clock, and keeps the token
  await other.setClock(issuer.now() + (lifetime + 31) * 1000);
  let asked = 0;
  const client = open('ada', {
    baseUrl: other.url,
    authEndpoint: async () => (asked++, { token: await issuer.issue({ rooms: { [room]: 'full' }, lifetime }) }),
  });
  const entered = client.enter(room);
  await until('a fourth refusal', () => client.sockets[3]?.closed);
  await other.setClock(issuer.now());
  await settled(entered, 'connected');

  // Five connections take at least 3.75 s. With 4109 there were thousands per second.
  const refused = client.sockets.slice(0, -1);
  for (const { closed } of refused) assert.equal(closed.code, 4100);
  for (const [i, pause] of [250, 500, 1000, 2000].entries()) {
    const took = client.sockets[i + 1].at - client.sockets[i].at;
    assert.ok(took > pause - 10, `connect ${i + 2} came ${took} ms after the one before, want ${pause}`);
  }
  assert.equal(asked, 1);
});

test('FULL that a partial token left out is granted when entering the room', async () => {
  const ids = Array.from({ length: 12 }, (_, i) => `globex:plan:${i}`); // a token has at most ten patterns
  for (const id of ids) usher.command('grant', 'add', '--user', 'mallory', '--room', id, '--access', 'full');

  const mallory = open('mallory');
  const first = await enter(mallory, ids[0]);
  const [{ token, partial }] = mallory.answers;
  assert.equal(partial, true);
  const { perms } = decodeJwt(token);
  const [missing] = ids.filter((id) => !(id in perms));
  assert.ok(missing, 'the token holds all of them');
  const second = await enter(mallory, missing);
  for (const room of [first, second]) assert.equal(room.getSelf().canWrite, true, room.id);
  assert.deepEqual(mallory.answers.map(({ room }) => room), [ids[0], missing]);

  // She has READ in all of globex. The first token must not hold it, or the client
  // would have kept that token for the second room.
  const other = await enter(mallory, 'globex:lobby');
  assert.equal(other.getSelf().canWrite, false);
  assert.equal(mallory.answers.length, 3);
});

test('the program works as in README.md', async () => {
  const { file } = usher;
  const run = (user) => {
    const program = startProgram(user, 'acme:design:5', { file, syncUrl: server.url });
    opened.push(program.stop);
    return program;
  };
  const prints = (program, text) => program.ready(() => program.output().includes(text));
  const ada = run('ada');
  await prints(ada, 'acme:design:5: FULL');
  const grace = run('grace');
  await prints(grace, 'acme:design:5: READ');
  await prints(ada, '* Grace: enter');
  ada.type('hello');
  await prints(grace, '  ada: hello');
  grace.type('me too');
  await prints(grace, '! not written');

  const mallory = run('mallory');
  assert.deepEqual(await mallory.exited, [1, null]);
  assert.match(mallory.output(), /No grant covers this request/);
});

test('while usher is down, its tokens are accepted', async () => {
  const room = 'acme:design:1';
  const token = await usher.token('grace', { room });
  await usher.stop();
  await assert.rejects(fetch(usher.jwksUrl));
  const socket = rawSocket(room, token);
  const { scopes } = await socket.next(104);
  assert.deepEqual(scopes, ['room:read', 'room:presence:write', 'comments:read']);
});
