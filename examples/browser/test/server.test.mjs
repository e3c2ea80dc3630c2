// The application forwards to usher alone, whatever the request target.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, request } from 'node:http';
import { after, before, test } from 'node:test';

import { startApp } from '../server.mjs';

let usher, elsewhere, app;

/** A server that records the paths and cookies of its requests. */
async function startRecorder() {
  const seen = [];
  const server = createServer(({ url, headers }, answer) => {
    seen.push([url, headers.cookie]);
    answer.end('recorded');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const host = `127.0.0.1:${server.address().port}`;
  return { host, take: () => seen.splice(0), close: () => server.close().closeAllConnections() };
}

before(async () => {
  [usher, elsewhere] = await Promise.all([startRecorder(), startRecorder()]);
  app = await startApp({ url: `http://${usher.host}`, issuer: 'http://usher.test', cookieName: 's', sessions: { ada: 'x' } });
});

after(() => {
  for (const server of [usher, elsewhere, app]) server?.close();
});

/** Sends a request target as it is, which no browser and no fetch would do. */
async function get(path) {
  const outgoing = request({ host: '127.0.0.1', port: app.port, path, headers: { cookie: 's=x' } });
  outgoing.end();
  const [answer] = await once(outgoing, 'response');
  answer.resume();
  await once(answer, 'end');
  return answer.statusCode;
}

for (const path of ['/api/auth', '/api/auth?mode=cookie', '/api/auth?a=b?c', '/api/auth?//evil.test/']) {
  test(`${path} goes to usher as it is`, async () => {
    assert.equal(await get(path), 200);
    const [[url, cookie], ...more] = usher.take();
    assert.deepEqual([url, cookie, more], [path, 's=x', []]);
  });
}

test('a target that names another host, or another path, is forwarded to no host', async () => {
  const { host } = elsewhere;
  for (const path of [
    `//${host}/api/auth`,
    `///${host}/api/auth`,
    `/\\${host}/api/auth`,
    `\\\\${host}/api/auth`,
    `http://${host}/api/auth`,
    `http:${host}/api/auth`,
    `https://${host}/api/auth`,
    `/.//${host}/api/auth`,
    `//user@${host}/api/auth?mode=cookie`,
    `//${host}:x/api/auth`,
    `//[/api/auth`,
    '/api/auth/',
    '/api//auth',
    '/api/../api/auth',
    '/./api/auth',
    '/api/auth/../../v1/admin/users',
    '/api/authorize',
    '/api/%61uth',
    '/API/AUTH',
    '*',
  ]) {
    assert.ok([400, 404].includes(await get(path)), path);
    assert.deepEqual([usher.take(), elsewhere.take()], [[], []], path);
  }
  assert.equal(await get('/'), 200, 'the application still answers');
});
