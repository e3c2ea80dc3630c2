import assert from 'node:assert/strict';
import { test } from 'node:test';

import { createVerifier } from '../dist/index.js';
import { closeCode, livestoreAuth, LiveStoreAuthError } from '../dist/livestore.js';
import { audience, issuer, newKey, start } from './support.mjs';

const key = newKey();
const storeId = 'acme_notes';
const read = (claims) => key.token({ stores: { [storeId]: 'read' }, ...claims });
const full = (claims) => key.token({ stores: { [storeId]: 'full' }, ...claims });

/** Hooks with a clock that the test sets, in seconds. */
function newAuth(options = {}, jwks = { keys: [key.jwk] }) {
  const clock = { seconds: start };
  const now = () => clock.seconds * 1000;
  const refusals = [];
  const auth = livestoreAuth(createVerifier({ issuer, audience, jwks, now, fetch: () => Promise.reject(new Error('down')) }), {
    now,
    onRefused: (code, store, cause) => refusals.push([code, store, cause?.code]),
    ...options,
  });
  return { auth, clock, refusals };
}

/** Resolves to the code of the refusal, or "allowed". */
async function outcome(promise) {
  try {
    await promise;
    return 'allowed';
  } catch (error) {
    assert.ok(error instanceof LiveStoreAuthError, error);
    assert.equal(error.message, error.code, 'the message reaches the client, and is the code');
    assert.equal(error.cause, undefined, 'a cause would reach the client');
    return error.code;
  }
}

const headersOf = (headers) => new Map(Object.entries(headers));

test('a token is taken from the header, then the cookie, then the payload', async () => {
  const cookie = { name: 'store_token', origins: ['https://app.example.test'] };
  const { auth } = newAuth({ cookie });
  const origin = cookie.origins[0];
  const good = read();
  const bad = read({ aud: 'another' });
  const fromPage = { cookie: `a=1; store_token=${good}; b=2`, origin };
  const cases = [
    ['header', { headers: { authorization: `Bearer ${good}` } }, 'allowed'],
    ['scheme in any case', { headers: { authorization: `bearer ${good}` } }, 'allowed'],
    ['header before cookie', { headers: { ...fromPage, authorization: `Bearer ${bad}` } }, 'token_invalid'],
    ['header before payload', { headers: { authorization: `Bearer ${bad}` }, authToken: good }, 'token_invalid'],
    ['another scheme', { headers: { authorization: 'Basic YTpi' }, authToken: good }, 'token_invalid'],
    ['two headers, as joined', { headers: { authorization: `Bearer ${good}, Bearer ${good}` } }, 'token_invalid'],
    ['cookie', { headers: fromPage }, 'allowed'],
    ['cookie before payload', { headers: { ...fromPage, cookie: `store_token=${bad}` }, authToken: good }, 'token_invalid'],
    ['two cookies', { headers: { ...fromPage, cookie: `store_token=${good}; store_token=${bad}` } }, 'duplicate_cookie'],
    ['a cookie and another origin', { headers: { ...fromPage, origin: 'https://evil.example.test' } }, 'origin_not_allowed'],
    ['a cookie and a longer origin', { headers: { ...fromPage, origin: `${origin}.evil.test` } }, 'origin_not_allowed'],
    ['a cookie and no origin', { headers: { cookie: fromPage.cookie } }, 'origin_not_allowed'],
    ['an origin that may not use the cookie', { headers: { ...fromPage, origin: 'null' }, authToken: good }, 'origin_not_allowed'],
    ['two cookies with one value', { headers: { ...fromPage, cookie: `store_token=${good}; store_token=${good}` } }, 'allowed'],
    ['two cookies with one value, bad', { headers: { ...fromPage, cookie: `store_token=${bad}; store_token=${bad}` } }, 'token_invalid'],
    ['three cookies with two values', { headers: { ...fromPage, cookie: `store_token=${good}; store_token=${good}; store_token=${bad}` } }, 'duplicate_cookie'],
    ['two cookies, one of them empty', { headers: { ...fromPage, cookie: `store_token=${good}; store_token=` } }, 'duplicate_cookie'],
    ['two origins, as joined', { headers: { ...fromPage, origin: `${origin}, https://evil.example.test` } }, 'origin_not_allowed'],
    ['a foreign origin with a payload', { headers: { ...fromPage, origin: 'https://evil.example.test' }, authToken: good }, 'origin_not_allowed'],
    ['a header with a foreign origin', { headers: { authorization: `Bearer ${good}`, origin: 'https://evil.example.test' } }, 'allowed'],
    ['a cookie by a longer name', { headers: { cookie: `x_store_token=${good}`, origin } }, 'token_missing'],
    ['payload', { authToken: good }, 'allowed'],
    ['payload and other headers', { headers: { 'user-agent': 'x' }, authToken: good }, 'allowed'],
    ['an empty token', { authToken: '' }, 'token_missing'],
    ['a token that is no text', { authToken: { toString: () => good } }, 'token_missing'],
    ['nothing', {}, 'token_missing'],
  ];
  for (const [name, { headers, authToken }, want] of cases) {
    const context = { storeId, headers: headers && headersOf(headers) };
    const payload = authToken === undefined ? undefined : { authToken };
    assert.equal(await outcome(auth.validatePayload(payload, context)), want, `connect: ${name}`);
    assert.equal(await outcome(auth.onPull({}, { ...context, payload })), want, `pull: ${name}`);
  }
  assert.equal(await outcome(auth.onPull({}, { storeId, payload: null })), 'token_missing');
});

test('cookies are not read unless one is configured', async () => {
  const { auth } = newAuth();
  const headers = headersOf({ cookie: `store_token=${read()}`, origin: 'https://app.example.test' });
  assert.equal(await outcome(auth.validatePayload(undefined, { storeId, headers })), 'token_missing');
});

test('a cookie needs its name and its origins', () => {
  for (const cookie of [{ name: '', origins: ['https://app.example.test'] }, { name: 'store_token', origins: [] }]) {
    assert.throws(() => newAuth({ cookie }), TypeError);
  }
  // No browser sends these, so they would refuse everyone.
  const odd = ['app.example.test', 'https://app.example.test/', 'https://APP.example.test', 'https://app.example.test:443', '*', 'null', ''];
  for (const origin of odd) {
    const cookie = { name: 'store_token', origins: ['https://app.example.test', origin] };
    assert.throws(() => newAuth({ cookie }), { name: 'TypeError', message: /is not an origin/ }, origin);
  }
  newAuth({ cookie: { name: 'store_token', origins: ['http://localhost:3000', 'https://app.example.test:8443'] } });
});

test('a push requires FULL and a pull READ, for the store of the context', async () => {
  const tokens = {
    read: read(),
    full: full(),
    pattern: key.token({ stores: { 'acme_*': 'read', acme_notes: 'full' } }),
    'another store': key.token({ stores: { acme_plans: 'full' } }),
    'rooms alone': key.token({ perms: { [storeId]: ['room:write', 'comments:write'] } }),
    expired: full({ iat: start - 300, exp: start }),
    'another audience': full({ aud: 'liveblocks' }),
    'another key': newKey('EdDSA', key.jwk.kid).token({ stores: { [storeId]: 'full' } }),
    garbage: 'garbage',
  };
  const want = {
    //                   connect          pull             push
    read: /*          */ ['allowed', /**/ 'allowed', /* */ 'forbidden'],
    full: /*          */ ['allowed', /**/ 'allowed', /* */ 'allowed'],
    pattern: /*       */ ['allowed', /**/ 'allowed', /* */ 'allowed'],
    'another store': ['forbidden', 'forbidden', 'forbidden'],
    'rooms alone': ['forbidden', 'forbidden', 'forbidden'],
    // The verifier has a leeway of 30 seconds; a socket would be closed immediately.
    expired: ['token_expired', 'token_expired', 'token_expired'],
    'another audience': ['token_invalid', 'token_invalid', 'token_invalid'],
    'another key': ['token_invalid', 'token_invalid', 'token_invalid'],
    garbage: ['token_invalid', 'token_invalid', 'token_invalid'],
  };
  const { auth } = newAuth();
  for (const [name, authToken] of Object.entries(tokens)) {
    const payload = { authToken };
    const got = [
      await outcome(auth.validatePayload(payload, { storeId })),
      await outcome(auth.onPull({}, { storeId, payload })),
      await outcome(auth.onPush({}, { storeId, payload })),
    ];
    assert.deepEqual(got, want[name], name);
  }
});

test('hooks that get no store id, as in LiveStore 0.3, refuse everything and name the version', async () => {
  const { auth } = newAuth();
  const payload = { authToken: full() };
  const needs = { name: 'TypeError', message: /LiveStore 0\.4 or newer/ };
  for (const context of [undefined, {}, { storeId: undefined }, { storeId: 7 }]) {
    await assert.rejects(auth.validatePayload(payload, context), needs);
    await assert.rejects(auth.onPush({}, context && { ...context, payload }), needs);
    await assert.rejects(auth.onPull({}, context && { ...context, payload }), needs);
    await assert.rejects(auth.authorize(context && { ...context, payload }, 'read'), needs);
  }
});

test('the client gets only the code, and the log gets the whole error', async () => {
  const { auth, refusals } = newAuth();
  await outcome(auth.onPush({}, { storeId, payload: { authToken: full({ aud: 'liveblocks' }) } }));
  await outcome(auth.onPush({}, { storeId, payload: { authToken: read() } }));
  await outcome(auth.onPush({}, { storeId }));
  const want = [
    ['token_invalid', storeId, 'audience_mismatch'],
    ['forbidden', storeId, 'forbidden'],
    ['token_missing', storeId, undefined],
  ];
  assert.deepEqual(refusals, want);
});

test('unavailable keys are reported as such', async () => {
  const { auth } = newAuth({}, 'https://usher.example.test/.well-known/jwks.json');
  assert.equal(await outcome(auth.onPull({}, { storeId, payload: { authToken: read() } })), 'keys_unavailable');
});

test('authorize gives a hook the claims of the token', async () => {
  const { auth } = newAuth();
  const claims = await auth.authorize({ storeId, payload: { authToken: full({ sub: 'ada' }) } }, 'full');
  assert.equal(claims.sub, 'ada');
});

const request = (authToken, headers = {}, transport = 'ws') => {
  const params = new URLSearchParams({ storeId, transport });
  // LiveStore encodes the payload twice.
  if (authToken !== undefined) params.set('payload', encodeURIComponent(JSON.stringify({ authToken })));
  return new Request(`https://sync.example.test/?${params}`, { headers });
};

test('only the token of a request’s headers is forwarded', () => {
  const { auth } = newAuth({ cookie: { name: 'store_token', origins: ['https://app.example.test'] } });
  const page = { origin: 'https://app.example.test', cookie: 'session=secret; store_token=t.o.k', 'user-agent': 'x' };
  assert.deepEqual(auth.forwardHeaders(request(undefined, page)), { authorization: 'Bearer t.o.k' });
  assert.deepEqual(auth.forwardHeaders(request(undefined, { authorization: 'bearer t.o.k' })), {
    authorization: 'Bearer t.o.k',
  });
  // Over HTTP, LiveStore 0.4 gives onPush no payload: the header has the token.
  assert.deepEqual(auth.forwardHeaders(request('t.o.k', {}, 'http')), { authorization: 'Bearer t.o.k' });
  assert.deepEqual(auth.forwardHeaders(request()), {});
});

/**
 * Simulates a Durable Object of LiveStore 0.4, with the behavior that the guard
 * is for: it assigns its handlers, registers a socket that requests a pull
 * before it checks access, and stops sending when a send throws.
 */
async function newObject(auth, sockets = [], stored = new Map()) {
  const alarms = [];
  let ready;
  const state = {
    blockConcurrencyWhile: (load) => (ready = load()),
    getWebSockets: () => sockets,
    storage: {
      list: async ({ prefix }) => new Map([...stored].filter(([name]) => name.startsWith(prefix))),
      put: async (name, value) => void stored.set(name, value),
      delete: async (name) => stored.delete(name),
      setAlarm: async (time) => void alarms.push(time / 1000),
    },
  };
  class SyncBackend {
    constructor() {
      this.fetch = async (req) => {
        const params = new URL(req.url).searchParams;
        const payload = JSON.parse(decodeURIComponent(params.get('payload') ?? 'null')) ?? undefined;
        if (params.get('transport') === 'http') return new Response('pushed');
        sockets.push(newSocket({ storeId, payload, headers: auth.forwardHeaders(req), pullRequestIds: [] }));
        return { status: 101 };
      };
      this.webSocketMessage = async (socket, message) => {
        if (message === 'pull') socket.change((attachment) => attachment.pullRequestIds.push('1'));
        else for (const receiver of sockets) receiver.send(message);
      };
    }
  }
  const object = new (auth.guard(SyncBackend))(state);
  await ready; // until then the runtime delivers nothing
  return {
    object,
    sockets,
    stored,
    alarms,
    /** Resolves to the server's end of the socket, or to the refusal's response. */
    async connect(token, headers) {
      const response = await object.fetch(request(token, headers));
      return response.status === 101 ? sockets.at(-1) : `${response.status} ${await response.text()}`;
    },
  };
}

function newSocket(attachment) {
  let text = JSON.stringify(attachment);
  const socket = {
    readyState: 1,
    received: [],
    closed: undefined,
    deserializeAttachment: () => text,
    serializeAttachment: (next) => void (text = next),
    change(edit) {
      const next = JSON.parse(text);
      edit(next);
      text = JSON.stringify(next);
    },
    send(message) {
      for (const _ of JSON.parse(text).pullRequestIds) {
        if (socket.readyState !== 1) throw new TypeError("Can't call WebSocket send() after close().");
        socket.received.push(message);
      }
    },
    // The peer never answers, so the closing socket stays in the list.
    close(code, reason) {
      socket.readyState = 2;
      socket.closed = [code, reason];
    },
  };
  return socket;
}

test('a guarded object requires READ, whatever the worker checked', async () => {
  const { auth } = newAuth();
  const { connect, sockets, object } = await newObject(auth);
  assert.equal(await connect(), '403 token_missing');
  assert.equal(await connect(key.token({ stores: { other: 'full' } })), '403 forbidden');
  assert.equal(sockets.length, 0);
  assert.equal((await connect(read())).readyState, 1);
  assert.equal((await object.fetch(request(read(), {}, 'http'))).status, 200);
  assert.equal((await object.fetch(request(undefined, {}, 'http'))).status, 403);

  const cold = await newObject(newAuth({}, 'https://usher.example.test/.well-known/jwks.json').auth);
  assert.equal(await cold.connect(read()), '503 keys_unavailable');
});

test('the alarm closes a socket at its token’s exp', async () => {
  const { auth, clock } = newAuth();
  const { connect, object, alarms } = await newObject(auth);
  const late = await connect(read({ exp: start + 300 }));
  const early = await connect(read({ exp: start + 60 }));
  await connect(read({ exp: start + 200 }));
  assert.deepEqual(alarms, [start + 300, start + 60], 'the earliest counts');

  clock.seconds = start + 59;
  object.alarm();
  assert.equal(early.closed, undefined);
  clock.seconds = start + 60;
  object.alarm();
  assert.deepEqual(early.closed, [closeCode.expired, 'token_expired']);
  assert.equal(alarms.at(-1), start + 200, 'the next one is waited for');
  clock.seconds = start + 300;
  object.alarm();
  assert.deepEqual(late.closed, [closeCode.expired, 'token_expired']);
});

test('after its exp a socket gets nothing, even if the alarm is late, and the others get everything', async () => {
  const { auth, clock } = newAuth();
  const { connect, object } = await newObject(auth);
  const short = await connect(read({ exp: start + 60 }));
  const reader = await connect(read());
  const writer = await connect(full());
  for (const socket of [short, reader, writer]) await object.webSocketMessage(socket, 'pull');
  await object.webSocketMessage(writer, 'one');
  clock.seconds = start + 60;
  await object.webSocketMessage(writer, 'two');
  // The closing socket pulls again, and is ignored.
  await object.webSocketMessage(short, 'pull');
  await object.webSocketMessage(short, 'three');
  await object.webSocketMessage(writer, 'four');
  assert.deepEqual(short.received, ['one']);
  assert.deepEqual(reader.received, ['one', 'two', 'four']);
});

test('a request over HTTP closes expired sockets, too', async () => {
  const { auth, clock } = newAuth();
  const { connect, object } = await newObject(auth);
  const short = await connect(read({ exp: start + 60 }));
  clock.seconds = start + 60;
  await object.fetch(request(full(), {}, 'http'));
  assert.deepEqual(short.closed, [closeCode.expired, 'token_expired']);
});

test('an object that wakes from hibernation closes expired sockets', async () => {
  const { auth, clock } = newAuth();
  const before = await newObject(auth);
  const short = await before.connect(read({ exp: start + 60 }));
  const writer = await before.connect(full());
  clock.seconds = start + 100;
  const awake = await newObject(auth, before.sockets);
  await awake.object.webSocketMessage(writer, 'one');
  assert.deepEqual(short.closed, [closeCode.expired, 'token_expired']);
  assert.deepEqual(awake.alarms, [start + 300]);
});

test('a socket with an unreadable token is treated as expired', async () => {
  const { auth } = newAuth();
  const stray = { storeId, pullRequestIds: ['1'] };
  const sockets = [newSocket(stray), newSocket({ ...stray, payload: { authToken: 'garbage' } }), newSocket(null)];
  const { object } = await newObject(auth, sockets);
  object.alarm();
  for (const { closed } of sockets) assert.deepEqual(closed, [closeCode.expired, 'token_expired']);
});

test('a kick closes the sockets of one user or session and refuses their earlier tokens', async () => {
  const cases = [
    ['sub', { sub: 'mallory' }],
    ['sid', { sid: 'session-1' }],
  ];
  for (const [name, holder] of cases) {
    const { auth, clock, refusals } = newAuth();
    const { connect, object, sockets, stored } = await newObject(auth);
    const token = read({ sub: 'mallory', sid: 'session-1' });
    const kicked = [await connect(token), await connect(undefined, { authorization: `Bearer ${token}` })];
    const other = await connect(read({ sub: 'mallory-2', sid: 'session-2' }));
    clock.seconds = start + 10;
    assert.equal(await object.kick(holder), 2, name);
    for (const { closed } of kicked) assert.deepEqual(closed, [closeCode.revoked, 'token_revoked'], name);
    assert.equal(other.closed, undefined, name);
    assert.equal(await object.kick(holder), 0, name);

    assert.equal(await connect(token), '403 token_revoked', name);
    assert.deepEqual(refusals, [['token_revoked', storeId, undefined]], name);
    assert.equal((await connect(read({ ...holder, iat: start + 11 }))).readyState, 1, name);

    const awake = await newObject(auth, sockets, stored);
    assert.equal(await awake.connect(token), '403 token_revoked', `${name}, after hibernation`);
  }
});

test('a socket that is accepted during a kick is closed before LiveStore gets a message', async () => {
  const { auth } = newAuth();
  const { object, sockets, connect } = await newObject(auth);
  const socket = await connect(read({ sub: 'mallory' }));
  // As if the kick came after the token was checked, and before the socket was in the list.
  sockets.length = 0;
  assert.equal(await object.kick({ sub: 'mallory' }), 0);
  sockets.push(socket);
  await object.webSocketMessage(socket, 'pull');
  assert.deepEqual(socket.closed, [closeCode.revoked, 'token_revoked']);
});

test('a kick is stored for longer than the lifetime of any token, then deleted', async () => {
  const { auth, clock } = newAuth();
  const { object, stored } = await newObject(auth);
  await object.kick({ sub: 'first' });
  clock.seconds = start + 3600;
  await object.kick({ sub: 'second' });
  assert.equal(stored.size, 2);
  clock.seconds = start + 25 * 3600 - 1;
  await object.kick({ sub: 'third' });
  assert.deepEqual([...stored.keys()], ['usher:kick:sub:second', 'usher:kick:sub:third']);
});

test('a kick requires either a user or a session', async () => {
  const { object } = await newObject(newAuth().auth);
  for (const holder of [{}, { sub: 'ada', sid: 'session-1' }, { sub: 7 }]) {
    await assert.rejects(object.kick(holder), TypeError);
  }
});
