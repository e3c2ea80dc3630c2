// Auth.js' cookies with a real usher.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { request } from 'node:http';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { Auth } from '@auth/core';
import { createRemoteJWKSet, jwtVerify } from 'jose';

import { configuration, Cookies, freePort, startUsher } from '../../usher.mjs';
import { createConfig, createPool, startApp } from '../server.mjs';

const here = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));
const mails = new Map();

let usher, app, pool, config, keys, url;

before(async () => {
  url = `http://127.0.0.1:${await freePort()}`;
  const { USHER_SESSION_COOKIE, ...guide } = await configuration('authjs.env');
  assert.deepEqual(Object.keys(guide), ['USHER_ORIGINS']);
  usher = await startUsher({
    env: {
      USHER_SESSION_COOKIE: USHER_SESSION_COOKIE.replace('__Secure-', ''), // without TLS
      USHER_ORIGINS: url,
    },
  });
  pool = createPool(usher.databaseUrl);
  await pool.query(await readFile(here('schema.sql'), 'utf8'));
  const sendMail = (to, link) => mails.set(to, link);
  config = createConfig({ secret: 'oGq3vN8xT5bL1zR7kW4cY9mJ2pD6hS0f', pool, sendMail });
  app = await startApp(url, config);
  usher.command('directory', 'use', 'authjs');
  usher.command('grant', 'add', '--everyone', '--room', 'home:{user}', '--access', 'full');
  keys = createRemoteJWKSet(new URL(usher.jwksUrl));
});

after(async () => {
  await pool?.end();
  app?.stop();
  await usher?.stop();
});

/** A browser that follows no redirects. `call` sends its requests to Auth.js. */
function newBrowser(call = fetch) {
  const cookies = new Cookies();
  const send = async (target, init = {}) => {
    const headers = { ...init.headers, cookie: `${cookies}` };
    return cookies.take(await call(new Request(target, { ...init, headers, redirect: 'manual' })));
  };
  const browser = {
    cookies,
    async post(path, form = {}) {
      const { csrfToken } = await (await send(`${url}/auth/csrf`)).json();
      const body = new URLSearchParams({ ...form, csrfToken });
      return send(`${url}/auth/${path}`, { method: 'POST', body });
    },
    async signIn(email) {
      await browser.post('signin/email', { email });
      const response = await send(mails.get(email));
      assert.equal(response.status, 302, await response.text());
      assert.doesNotMatch(response.headers.get('location'), /error/);
      return browser;
    },
    ask: (body) => usher.ask(url, `${cookies}`, body),
    /** The claims of a token from usher. */
    async claims() {
      const { status, token, reason } = await browser.ask();
      assert.equal(status, 200, reason);
      return (await jwtVerify(token, keys, { issuer: usher.issuer, audience: usher.audience, typ: 'at+jwt' })).payload;
    },
  };
  return browser;
}

async function refused(answer, status, reason) {
  const { status: got, requestId } = await answer;
  const { rows } = await pool.query('SELECT reason FROM audit.denials WHERE request_id = $1', [requestId]);
  assert.deepEqual([got, rows], [status, [{ reason }]]);
}

const userOf = async (email) => (await pool.query('SELECT id FROM users WHERE email = $1', [email])).rows[0].id;

test('a signed-in user gets tokens until sign-out', async () => {
  const ada = await newBrowser().signIn('ada@example.com');
  assert.ok(ada.cookies.names.includes('authjs.session-token'));
  const id = await userOf('ada@example.com');
  await pool.query(`UPDATE users SET name = 'Ada' WHERE id = $1`, [id]);
  const { sub, ui, org, perms } = await ada.claims();
  assert.deepEqual([sub, ui, org], [`${id}`, { name: 'Ada' }, undefined]);
  assert.deepEqual(Object.keys(perms), [`home:${id}`]);

  const cookies = `${ada.cookies}`;
  await ada.post('signout');
  await refused(ada.ask(), 401, 'no_credential');
  await refused(usher.ask(url, cookies), 401, 'session_unknown'); // a copy of the cookie

  await ada.signIn('ada@example.com');
  assert.equal((await ada.claims()).sub, sub);
});

test('a request target that is not a path is refused', async () => {
  for (const path of ['http://evil.example.com/auth/session', '*', 'http://[']) {
    const outgoing = request(url, { method: 'OPTIONS', path }).end();
    const [answer] = await once(outgoing, 'response');
    answer.resume();
    assert.equal(answer.statusCode, 400, path);
  }
  // Another host in the path does not change where Auth.js thinks it runs.
  const outgoing = request(url, { path: '//evil.example.com/auth/providers' }).end();
  const [answer] = await once(outgoing, 'response');
  assert.doesNotMatch(await new Response(answer).text(), /"signinUrl":"https?:..evil/);
  assert.equal((await fetch(`${url}/auth/csrf`)).status, 200, 'the application still answers');
});

test('with TLS the cookie has another name', async () => {
  const ada = await newBrowser((request) => Auth(request, { ...config, useSecureCookies: true })).signIn('ada@example.com');
  assert.ok(ada.cookies.names.includes('__Secure-authjs.session-token'));
  assert.equal((await ada.claims()).sub, `${await userOf('ada@example.com')}`);
});

test('two session cookies, or an invalid one, are refused', async () => {
  const ada = await newBrowser().signIn('ada@example.com');
  const session = `${ada.cookies}`.match(/authjs\.session-token=([^;]+)/)[1];
  const cookie = (value) => usher.ask(url, `authjs.session-token=${value}`);
  assert.equal((await cookie(session)).status, 200);
  await refused(cookie(`${session}; authjs.session-token=x${session}`), 401, 'duplicate_cookie');
  await refused(cookie(`${session}; __Secure-authjs.session-token=${session}`), 401, 'duplicate_cookie');
  await refused(cookie(session.toUpperCase()), 401, 'session_unknown');
  await refused(cookie(`${session}x`), 401, 'session_unknown');
  await refused(cookie('x'.repeat(4_000)), 401, 'session_unknown');
  await refused(cookie(`'; DROP TABLE sessions --`.replaceAll(/[ ;]/g, '')), 401, 'session_unknown');
});

test('no token outlives the session, and a deleted user gets none', async () => {
  const eve = await newBrowser().signIn('eve@example.com');
  const id = await userOf('eve@example.com');
  const expire = (after) =>
    pool.query(`UPDATE sessions SET expires = now() + $1::interval WHERE "userId" = $2 RETURNING expires`, [after, id]);
  const { rows } = await expire('90 seconds');
  const { exp } = await eve.claims();
  assert.ok(exp * 1000 <= rows[0].expires.getTime(), `the token lives until ${exp}`);
  await expire('-1 second');
  await refused(eve.ask(), 401, 'session_expired');

  // The adapter's schema lets a session outlive its user.
  await expire('1 hour');
  await pool.query('DELETE FROM users WHERE id = $1', [id]);
  await refused(eve.ask(), 401, 'session_unknown');
  await refused(usher.askFor(`${id}`), 403, 'user_unknown');
  await refused(usher.askFor(`0${await userOf('ada@example.com')}`), 403, 'user_unknown'); // another spelling of Ada
  await config.adapter.deleteUser(id);
  await refused(eve.ask(), 401, 'session_unknown');
});

test('an encrypted session is refused with an error that says what to do', async () => {
  const jwt = (request) => Auth(request, { ...config, session: { strategy: 'jwt' } });
  const ada = await newBrowser(jwt).signIn('ada@example.com');
  assert.match(`${ada.cookies}`, /authjs\.session-token=eyJ[^;]*\..*\..*\..*\./);
  const answer = await ada.ask();
  assert.match(answer.reason, /Keep sessions in the application.s database \(Auth\.js: session\.strategy "database"\), or send a JWT that your application signs as a bearer token/);
  await refused(answer, 401, 'encrypted_cookie');

  // A large session is split into several cookies.
  const callbacks = { jwt: ({ token }) => ({ ...token, large: 'x'.repeat(5_000) }) };
  const large = await newBrowser((request) => Auth(request, { ...config, session: { strategy: 'jwt' }, callbacks })).signIn('ada@example.com');
  assert.ok(large.cookies.names.includes('authjs.session-token.0'));
  await refused(large.ask(), 401, 'encrypted_cookie');
});
