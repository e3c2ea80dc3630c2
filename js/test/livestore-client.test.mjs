import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import { mock, test } from 'node:test';

import { Deferred, Effect, Either, Exit, Fiber, Scope, Stream, SubscriptionRef } from 'effect';

import { withFreshToken } from '../dist/livestore-client.js';
import { newKey, start } from './support.mjs';

const key = newKey();
const args = { storeId: 'acme_notes', clientId: 'laptop', payload: { theme: 'dark' } };
const tokenFor = (seconds) => key.token({ iat: start, exp: start + seconds });

/** A sync backend that the test controls, and that records its connections. */
function fakeBackend() {
  const connections = [];
  const make = ({ payload }) =>
    Effect.gen(function* () {
      const connection = {
        payload,
        open: true,
        connects: 0,
        pushes: [],
        isConnected: yield* SubscriptionRef.make(false),
        events: yield* Deferred.make(),
        ack: yield* Deferred.make(),
      };
      yield* Effect.addFinalizer(() => Effect.sync(() => void (connection.open = false)));
      connections.push(connection);
      return {
        isConnected: connection.isConnected,
        connect: Effect.suspend(() => {
          connection.connects++;
          return SubscriptionRef.set(connection.isConnected, true);
        }),
        ping: Effect.void,
        pull: (cursor, options) => {
          connection.pull = { cursor, options };
          return Stream.fromEffect(Deferred.await(connection.events));
        },
        push: (batch) => {
          connection.pushes.push(batch);
          return Deferred.await(connection.ack);
        },
        metadata: { name: 'fake', description: 'fake' },
        supports: { pullPageInfoKnown: true, pullLive: true },
      };
    });
  return { connections, make };
}

/** Runs an open store with a fake backend. Only {@link wait} moves the clock. */
async function withStore(getToken, body, onError = () => {}) {
  const { connections, make } = fakeBackend();
  const program = Effect.gen(function* () {
    const scope = yield* Scope.make();
    const backend = yield* withFreshToken(make, getToken, { onError })(args).pipe(Scope.extend(scope));
    yield* body({ backend, connections, close: Scope.close(scope, Exit.void) });
    yield* Scope.close(scope, Exit.void);
  });
  mock.timers.enable({ apis: ['setTimeout', 'Date'], now: start * 1000 });
  try {
    await Effect.runPromise(program);
  } finally {
    mock.restoreAll();
    mock.timers.reset();
  }
}

/** Runs everything that can run without moving the clock. */
const settle = Effect.promise(async () => {
  for (let turn = 0; turn < 10; turn++) await setImmediate();
});

const wait = (seconds) =>
  Effect.gen(function* () {
    for (let second = 0; second < seconds; second++) {
      mock.timers.tick(1000);
      yield* settle;
    }
  });

const fork = (effect) => Effect.zipLeft(Effect.fork(Effect.either(effect)), settle);

test('the store opens without a token, and connects when there is one', async () => {
  let give;
  const getToken = (store) => {
    assert.deepEqual([store.storeId, store.clientId], ['acme_notes', 'laptop']);
    return new Promise((resolve) => (give = resolve));
  };
  await withStore(getToken, function* ({ backend, connections }) {
    const connecting = yield* fork(Effect.scoped(backend.connect));
    yield* wait(3600);
    assert.equal(connections.length, 0);
    assert.equal(yield* SubscriptionRef.get(backend.isConnected), false);
    const token = tokenFor(300);
    give(token);
    yield* Fiber.join(connecting);
    yield* settle;
    assert.deepEqual(connections[0].payload, { theme: 'dark', authToken: token });
    assert.equal(yield* SubscriptionRef.get(backend.isConnected), true);
  });
});

test('a token is replaced at three quarters of its lifetime, whatever the clock says', async () => {
  const tokens = [tokenFor(300), tokenFor(300)];
  let asked = 0;
  await withStore(async () => tokens[asked++] ?? tokens[1], function* ({ backend, connections }) {
    yield* settle;
    const pulling = yield* fork(Stream.runDrain(backend.pull('cursor', { live: true })));
    assert.deepEqual(connections[0].pull, { cursor: 'cursor', options: { live: true } });
    yield* wait(209);
    assert.equal(asked, 1);
    yield* wait(31);
    assert.equal(asked, 2);

    const [old, current] = connections;
    assert.equal(current.payload.authToken, tokens[1]);
    assert.equal(current.connects, 1, 'it is connected before it takes over');
    assert.deepEqual([old.open, current.open], [false, true]);
    const ended = yield* Fiber.join(pulling);
    assert.equal(Either.isLeft(ended) && ended.left._tag, 'IsOfflineError', 'which makes LiveStore pull again');
    yield* fork(Stream.runDrain(backend.pull('cursor 2', {})));
    assert.deepEqual(current.pull, { cursor: 'cursor 2', options: {} });
    assert.equal(yield* SubscriptionRef.get(backend.isConnected), true);
  });
});

test('an unfinished push fails when the token changes, so that LiveStore repeats it', async () => {
  await withStore(async () => tokenFor(300), function* ({ backend, connections }) {
    yield* settle;
    const pushing = yield* fork(backend.push(['event']));
    yield* wait(240);
    const result = yield* Fiber.join(pushing);
    assert.equal(Either.isLeft(result) && result.left._tag, 'IsOfflineError');
    const again = yield* fork(backend.push(['event']));
    yield* Deferred.succeed(connections[1].ack, undefined);
    assert.ok(Either.isRight(yield* Fiber.join(again)));
    assert.deepEqual(connections.map(({ pushes }) => pushes), [[['event']], [['event']]]);
  });
});

test('with a token in a cookie, the payload holds no token', async () => {
  const expiresAt = (seconds) => new Date((start + seconds) * 1000).toISOString();
  const cases = [
    // expiresAt, then the maximum and minimum seconds until the next request
    ['five minutes', 300, [210, 240]],
    ['by a clock an hour ahead', -3300, [42, 48]],
    ['by a clock a day behind', 86_400, [2520, 2880]],
  ];
  for (const [name, end, [least, most]] of cases) {
    await withStore(async () => ({ expiresAt: expiresAt(end) }), function* ({ backend, connections }) {
      yield* Effect.scoped(backend.connect);
      assert.deepEqual(connections[0].payload, { theme: 'dark' }, name);
      yield* wait(least - 1);
      assert.equal(connections.length, 1, name);
      yield* wait(most - least + 12); // one step of the timer more
      assert.deepEqual(connections.map(({ open }) => open), [false, true], name);
    });
  }
});

test('without a new token the old connection stays, and the request is repeated', async () => {
  const errors = new Set();
  const faults = [() => Promise.reject(new Error('usher answered 503')), async () => 'no token', async () => 'e.e30.s', async () => ({}), async () => null];
  let asked = 0;
  let down = false;
  const getToken = () => (down ? faults[asked++ % 5]() : Promise.resolve(tokenFor(300)));
  await withStore(
    getToken,
    function* ({ connections }) {
      yield* settle;
      down = true;
      yield* wait(300);
      const neither = 'withFreshToken: getToken returned neither a token nor the expiresAt of a cookie';
      assert.deepEqual(errors, new Set(['usher answered 503', 'withFreshToken: getToken did not return a token', neither]));
      assert.deepEqual(connections.map(({ open }) => open), [true]);
      down = false;
      yield* wait(36);
      assert.deepEqual(connections.map(({ open }) => open), [false, true]);
    },
    (error) => errors.add(error.message),
  );
});

test('while nobody is signed in, a token is requested every 30 seconds at most', async () => {
  let asked = 0;
  const getToken = async () => {
    asked++;
    throw new Error('401');
  };
  await withStore(getToken, function* () {
    yield* wait(3600);
    // 1, 2, 4, 8 and 16 seconds, then 30, each with a jitter of 20 percent.
    assert.ok(asked >= 100 && asked <= 160, `asked ${asked} times in an hour`);
  });
});

test('after the machine slept and timers stopped, the token is replaced soon', async () => {
  let asked = 0;
  const getToken = async () => {
    asked++;
    return tokenFor(300);
  };
  await withStore(getToken, function* () {
    yield* wait(5);
    const { now } = Date;
    mock.method(Date, 'now', () => now() + 3600_000);
    yield* wait(10);
    assert.equal(asked, 2);
  });
});

test('a socket closed because of its token causes a request for another, but not at once', async () => {
  for (const [code, want] of [[4001, 2], [4003, 2], [1006, 1], [undefined, 1]]) {
    let asked = 0;
    const getToken = async () => {
      asked++;
      return tokenFor(300);
    };
    await withStore(getToken, function* ({ backend, connections }) {
      yield* settle;
      yield* fork(Stream.runDrain(backend.pull('cursor', {})));
      yield* Deferred.fail(connections[0].events, { _tag: 'IsOfflineError', cause: { code } });
      yield* wait(9);
      assert.equal(asked, 1, `${code}: too soon`);
      yield* wait(1);
      assert.equal(asked, want, `${code}`);
    });
  }
});

test('when the store closes, so do its connection and its request', async () => {
  let signal;
  let asked = 0;
  const getToken = (store) => {
    signal = store.signal;
    return asked++ === 0 ? Promise.resolve(tokenFor(300)) : new Promise(() => {});
  };
  await withStore(getToken, function* ({ connections, close }) {
    yield* wait(240);
    assert.equal(asked, 2);
    assert.equal(signal.aborted, false);
    yield* close;
    assert.equal(signal.aborted, true);
    assert.equal(connections[0].open, false);
  });
});
