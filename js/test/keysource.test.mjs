import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { createVerifier } from '@usher-auth/sdk';

import { audience, issuer, newKey, start, verdict } from './support.mjs';

const url = 'https://usher.example.test/.well-known/jwks.json';
const setOf = (...keys) => JSON.stringify({ keys: keys.map((key) => key.jwk) });

/**
 * A verifier with a key set and a clock that the test controls. `answer` is the
 * response to the next fetches: a body, or a function that replaces fetch.
 */
function setUp(answer) {
  const remote = { answer, fetches: 0, seconds: start };
  const verifier = createVerifier({
    issuer,
    audience,
    jwks: url,
    now: () => remote.seconds * 1000,
    fetch: async (input, init) => {
      remote.fetches++;
      return typeof remote.answer === 'function' ? remote.answer(input, init) : new Response(remote.answer);
    },
  });
  return {
    remote,
    verify: (token) => verdict(verifier.verify(token)),
    verifier,
    /** A token that is valid at the test's time. */
    fresh: (key) => key.token({ iat: remote.seconds, exp: remote.seconds + 300 }),
  };
}

/** Resolves after all pending promise callbacks. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

const fail = () => {
  throw new TypeError('fetch failed');
};

test('concurrent verifications share one fetch of the keys', async () => {
  const key = newKey();
  const { remote, verify, fresh } = setUp(setOf(key));
  const verdicts = await Promise.all(Array.from({ length: 50 }, () => verify(fresh(key))));
  assert.deepEqual(new Set(verdicts), new Set(['valid']));
  assert.equal(remote.fetches, 1);
  assert.equal(await verify(fresh(key)), 'valid');
  assert.equal(remote.fetches, 1);
});

test('the request has no credentials and follows no redirects', async () => {
  const key = newKey();
  let seen;
  const { verify, fresh } = setUp((input, init) => {
    seen = { input, init };
    return new Response(setOf(key));
  });
  await verify(fresh(key));
  assert.equal(seen.input, url);
  assert.equal(seen.init.redirect, 'manual');
  assert.ok(seen.init.signal instanceof AbortSignal);
  assert.match(seen.init.headers.accept, /application\/jwk-set\+json/);
});

test('a malformed token causes no fetch', async () => {
  const key = newKey();
  const { remote, verify } = setUp(setOf(key));
  for (const token of ['', 'a.b.c', key.token({}, { kid: '../x' }), key.token({}, { typ: 'JWT' }), `${key.token()}=`]) {
    assert.notEqual(await verify(token), 'valid');
  }
  assert.equal(remote.fetches, 0);
});

test('unknown kids cause at most one fetch in 30 seconds', async () => {
  const [key, next] = [newKey(), newKey()];
  const { remote, verify, fresh } = setUp(setOf(key));
  assert.equal(await verify(fresh(key)), 'valid');
  for (let i = 0; i < 10_000; i++) {
    assert.equal(await verify(key.token({}, { kid: `made-up-${i}` })), 'key_unknown');
  }
  assert.equal(remote.fetches, 1, 'too soon after the first fetch');

  remote.seconds += 30;
  remote.answer = setOf(key, next);
  assert.equal(await verify(fresh(next)), 'valid', 'a new key is found');
  assert.equal(remote.fetches, 2);
  await Promise.all(Array.from({ length: 100 }, (_, i) => verify(next.token({}, { kid: `other-${i}` }))));
  assert.equal(remote.fetches, 2);
});

test('tokens with unknown keys share one fetch', async () => {
  const [key, next] = [newKey(), newKey()];
  const { remote, verify, fresh } = setUp(setOf(key));
  await verify(fresh(key));
  remote.seconds += 30;
  remote.answer = setOf(key, next);
  const verdicts = await Promise.all(Array.from({ length: 20 }, () => verify(fresh(next))));
  assert.deepEqual(new Set(verdicts), new Set(['valid']));
  assert.equal(remote.fetches, 2);
});

test('keys in use are refreshed in the background after 5 minutes', async () => {
  const key = newKey();
  const { remote, verify, fresh } = setUp(setOf(key));
  await verify(fresh(key));
  remote.seconds += 299;
  await verify(fresh(key));
  assert.equal(remote.fetches, 1);

  remote.seconds += 1;
  remote.answer = () => new Promise(() => {}); // hangs
  for (let i = 0; i < 10; i++) assert.equal(await verify(fresh(key)), 'valid', 'nobody waits');
  assert.equal(remote.fetches, 2);
});

test('a key removed by the issuer is refused within 10 minutes, and so are its cached tokens', async () => {
  const [old, key] = [newKey(), newKey()];
  const { remote, verify } = setUp(setOf(old, key));
  const token = old.token({ exp: start + 3600 });
  assert.equal(await verify(token), 'valid');
  remote.answer = setOf(key);

  // In constant use: the refresh runs in the background.
  remote.seconds += 300;
  assert.equal(await verify(token), 'valid');
  await settled();
  assert.equal(await verify(token), 'key_unknown');

  // Idle: the first token after 10 minutes waits for the refresh.
  const idle = setUp(setOf(old, key));
  assert.equal(await idle.verify(token), 'valid');
  idle.remote.answer = setOf(key);
  idle.remote.seconds += 600;
  assert.equal(await idle.verify(token), 'key_unknown');
  assert.equal(idle.remote.fetches, 2);
});

test('cached tokens survive a refresh that changes nothing', async () => {
  const key = newKey();
  const { remote, verifier } = setUp(setOf(key));
  const token = key.token({ exp: start + 3600 });
  const claims = await verifier.verify(token);
  remote.seconds += 600;
  assert.equal(await verifier.verify(token), claims);
  assert.equal(remote.fetches, 2);
});

test('a key that was replaced under the same kid verifies nothing', async () => {
  const key = newKey('EdDSA', 'one');
  const other = newKey('EdDSA', 'one');
  const { remote, verify } = setUp(setOf(key));
  const token = key.token({ exp: start + 3600 });
  assert.equal(await verify(token), 'valid');
  remote.answer = setOf(other);
  remote.seconds += 600;
  assert.equal(await verify(token), 'signature_invalid');
});

test('while fetches fail, the last valid keys are used', async (t) => {
  const [key, next] = [newKey(), newKey()];
  for (const [name, answer] of [
    ['no connection', fail],
    ['status 503', () => new Response('busy', { status: 503 })],
    ['status 404', () => new Response(setOf(next), { status: 404 })],
    ['status 302', () => new Response(null, { status: 302, headers: { location: 'https://evil.test/' } })],
    ['HTML', () => new Response('<!doctype html><title>502</title>')],
    ['truncated', () => new Response(setOf(key).slice(0, -1))],
    ['no body', () => new Response(null)],
    ['an empty set', () => new Response('{"keys":[]}')],
    ['65 keys', () => new Response(setOf(...Array(65).fill(next)))],
    ['names twice', () => new Response(setOf(next).replace('{', '{"keys":[],'))],
    ['a private key', () => new Response(setOf({ jwk: { ...next.jwk, d: 'AAAA' } }, next))],
    ['too long', () => new Response(setOf(next).replace('{', `{${' '.repeat(256 * 1024)}`))],
    ['a body that breaks off', () => new Response(new ReadableStream({ pull: (c) => c.error(new Error('reset')) }))],
  ]) {
    await t.test(name, async () => {
      const { remote, verify, fresh } = setUp(setOf(key));
      assert.equal(await verify(fresh(key)), 'valid');
      remote.answer = answer;
      for (let hour = 1; hour <= 23; hour++) {
        remote.seconds += 3600;
        assert.equal(await verify(fresh(key)), 'valid', `after ${hour} h`);
      }
      assert.equal(remote.fetches, 24);
      assert.equal(await verify(fresh(next)), 'keys_unavailable', 'the key may be a new one');

      remote.seconds += 3600;
      assert.equal(await verify(fresh(key)), 'keys_unavailable', 'after a day they are too old');

      remote.seconds += 3600;
      remote.answer = setOf(key);
      assert.equal(await verify(fresh(key)), 'valid', 'recovers by itself');
    });
  }
});

test('while fetches fail, they are retried every 30 seconds in the background', async () => {
  const key = newKey();
  const { remote, verify, fresh } = setUp(setOf(key));
  await verify(fresh(key));
  remote.seconds += 600;
  remote.answer = fail;
  assert.equal(await verify(fresh(key)), 'valid', 'the first waits, in vain');
  remote.answer = () => new Promise(() => {});
  for (let i = 0; i < 29; i++) {
    remote.seconds += 1;
    assert.equal(await verify(fresh(key)), 'valid');
  }
  assert.equal(remote.fetches, 2);
  remote.seconds += 1;
  assert.equal(await verify(fresh(key)), 'valid');
  assert.equal(remote.fetches, 3);
});

test('without keys, a refusal is retryable', async () => {
  const key = newKey();
  const { remote, verifier, verify, fresh } = setUp(fail);
  await assert.rejects(verifier.verify(fresh(key)), (error) => {
    assert.equal(error.code, 'keys_unavailable');
    assert.equal(error.retryable, true);
    assert.equal(error.message, 'verification keys are unavailable, try again');
    assert.equal(error.cause.message, 'fetch failed');
    return true;
  });
  await Promise.all(Array.from({ length: 100 }, () => verify(fresh(key))));
  assert.equal(remote.fetches, 1, 'not tried again at once');

  remote.seconds += 1;
  remote.answer = setOf(key);
  assert.equal(await verify(fresh(key)), 'valid');
});

test('a clock that is set back keeps nothing fresh for longer', async () => {
  const key = newKey();
  const { remote, verify, fresh } = setUp(setOf(key));
  await verify(fresh(key));
  remote.seconds -= 10;
  remote.answer = fail;
  assert.equal(await verify(fresh(key)), 'valid', 'nor does it make anything too old');
  assert.equal(remote.fetches, 2);
});

test('a fetch that hangs and ignores its signal ends after 5 seconds', async (t) => {
  const aborts = [];
  t.mock.method(AbortSignal, 'timeout', (ms) => {
    const controller = new AbortController();
    aborts.push({ ms, abort: () => controller.abort(new DOMException('too slow', 'TimeoutError')) });
    return controller.signal;
  });
  const key = newKey();
  const stalled = new ReadableStream({ start: (controller) => controller.enqueue(new Uint8Array(1)) });
  for (const answer of [() => new Promise(() => {}), () => new Response(stalled)]) {
    const { verify, fresh } = setUp(answer);
    const result = verify(fresh(key));
    await settled();
    const { ms, abort } = aborts.pop();
    assert.equal(ms, 5000);
    abort();
    assert.equal(await result, 'keys_unavailable');
  }
});

test('in Workers no request waits for the fetch of another one', async (t) => {
  const real = Object.getOwnPropertyDescriptor(globalThis, 'navigator') ?? { value: undefined, configurable: true };
  t.after(() => Object.defineProperty(globalThis, 'navigator', real));
  Object.defineProperty(globalThis, 'navigator', { value: { userAgent: 'Cloudflare-Workers' }, configurable: true });
  const { remoteKeys } = await import('../dist/keysource.js?workers');
  const key = newKey();
  const answers = [];
  const keys = remoteKeys(
    url,
    () => new Promise((resolve) => answers.push(resolve)),
    () => start * 1000,
  );
  const [, second] = [keys.current(), keys.current()];
  assert.equal(answers.length, 2);
  answers[1](new Response(setOf(key))); // the first request was cancelled
  assert.ok((await second).has(key.jwk.kid));
});

test('over HTTP', async (t) => {
  const key = newKey();
  const answers = {
    '/jwks.json': (res) => res.setHeader('content-type', 'application/jwk-set+json').end(setOf(key)),
    '/moved': (res) => res.writeHead(302, { location: '/jwks.json' }).end(),
    '/endless': (res) => {
      const write = () => res.destroyed || res.write(' '.repeat(65_536), write);
      write();
    },
  };
  const server = createServer((req, res) => answers[req.url](res));
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const at = (path) =>
    createVerifier({
      issuer,
      audience,
      jwks: `http://127.0.0.1:${server.address().port}${path}`,
      now: () => start * 1000,
    });
  assert.equal(await verdict(at('/jwks.json').verify(key.token())), 'valid');
  assert.equal(await verdict(at('/moved').verify(key.token())), 'keys_unavailable');
  assert.equal(await verdict(at('/endless').verify(key.token())), 'keys_unavailable');
});
