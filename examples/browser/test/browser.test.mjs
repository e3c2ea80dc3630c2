// usher's rules for cookies and origins in a real browser. Chromium resolves all
// names under localhost to this machine, and treats http on it as secure.
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';

import { startUsher } from '../../usher.mjs';
import { startApp } from '../server.mjs';
import { startChromium, startTap } from './support.mjs';

const dev = {}; // dev.json of the running usher
const origins = {};
let chromium, tap, usher, app, context, auth;

before(async () => {
  [tap, app] = await Promise.all([startTap(), startApp(dev)]);
  auth = `http://auth.usher.localhost:${tap.port}/api/auth`;
  // All pages are the application's, under different host names.
  Object.assign(origins, {
    listed: `http://app.usher.localhost:${app.port}`, // usher's own site
    crossSite: `http://app.other.localhost:${app.port}`, // listed, but another site
    unlisted: `http://docs.usher.localhost:${app.port}`,
    foreign: `http://evil.localhost:${app.port}`,
  });
  chromium = await startChromium();
});

after(async () => {
  await chromium?.close();
  await usher?.stop();
  app?.close();
  tap?.close();
});

/** Runs usher with its public URL and more flags. */
async function start(...flags) {
  await usher?.stop();
  const url = new URL(auth).origin;
  const list = `${origins.listed},${origins.crossSite}`;
  usher = await startUsher({ flags: ['--url', url, '--origins', list, ...flags] });
  Object.assign(dev, usher);
  tap.to(usher.url);
}

beforeEach(async () => {
  if (!usher) await start();
  await context?.close();
  context = await chromium.newContext();
  tap.seen();
});

/** Signs ada in on a host. */
function signIn(domain, sameSite = 'Lax') {
  const value = dev.sessions.ada;
  return context.addCookies([{ name: dev.cookieName, value, domain, path: '/', httpOnly: true, secure: sameSite === 'None', sameSite }]);
}

async function open(origin) {
  const page = await context.newPage();
  await page.goto(origin);
  return page;
}

/** Calls usher from a script of a page. Returns everything that the script can see. */
function call(page, url, init = {}) {
  const { body = { store: 'acme_notes' }, type = 'application/json', ...rest } = init;
  const options = { method: 'POST', credentials: 'include', headers: { 'content-type': type }, body: JSON.stringify(body), ...rest };
  return page.evaluate(
    async ([url, options]) => {
      try {
        const response = await fetch(url, options);
        const text = await response.text();
        return { status: response.status, type: response.type, requestId: response.headers.get('x-request-id') !== null, text, ...(text && JSON.parse(text)) };
      } catch (error) {
        return { error: String(error) };
      }
    },
    [url, options],
  );
}

const signOut = { method: 'DELETE', body: undefined, headers: {} };
const blocked = { error: 'TypeError: Failed to fetch' };
const tokenCookies = async () => (await context.cookies()).filter(({ name }) => name.endsWith('-usher'));
const summary = (seen) => seen.map(({ method, status }) => `${method} ${status}`);

test('the example’s page works', async () => {
  const page = await open(origins.listed);
  const click = async (id, wanted) => {
    await page.click(`#${id}`);
    await page.waitForFunction((text) => document.getElementById('answer').textContent.includes(text), wanted);
  };
  await click('same', '401');
  await click('ada', 'signed in as ada');
  await click('same', '200 {"token":"');
  await click('cookie', '200 {"expiresAt":"');
  assert.equal((await tokenCookies()).length, 1);
  // The session cookie belongs to the page's host, and is not sent to usher's own.
  await click('other', '401');
  await click('mallory', 'signed in as mallory');
  await click('same', '403');
  await click('out', 'signed out: 204');
  assert.deepEqual(await context.cookies(), []);
  await click('same', '401');
});

test('a page of the same origin gets a token with the cookie', async () => {
  await signIn('app.usher.localhost');
  const answer = await call(await open(origins.listed), '/api/auth');
  assert.equal(answer.status, 200);
  assert.match(answer.token, /^[\w-]+\.[\w-]+\.[\w-]+$/);
  assert.deepEqual(tap.seen(), [], 'the request went to the page’s own origin');
  // The origin is not listed, but the browser says that it is the same one.
  await signIn('evil.localhost');
  assert.equal((await call(await open(origins.foreign), '/api/auth')).status, 200);
});

test('a page of a listed origin gets a token with the cookie, after a preflight', async () => {
  await signIn('.usher.localhost');
  const answer = await call(await open(origins.listed), auth);
  assert.equal(answer.status, 200);
  assert.equal(answer.requestId, true, 'an exposed header');
  const [preflight, request, ...more] = tap.seen();
  assert.deepEqual(more, []);
  assert.deepEqual([preflight.method, preflight.status], ['OPTIONS', 204]);
  assert.equal(preflight.headers['access-control-request-method'], 'POST');
  assert.equal(preflight.headers['access-control-request-headers'], 'content-type');
  assert.equal(preflight.headers.cookie, undefined);
  assert.equal(preflight.headers.origin, origins.listed);
  assert.deepEqual([request.method, request.status], ['POST', 200]);
  assert.equal(request.headers.origin, origins.listed);
  assert.equal(request.headers['sec-fetch-site'], 'same-site');
  assert.match(request.headers.cookie, new RegExp(`^${dev.cookieName}=`));
  // The browser caches the preflight, so usher sees only the next request.
  const page = await open(origins.listed);
  await call(page, auth);
  tap.seen();
  await call(page, auth);
  assert.deepEqual(summary(tap.seen()), ['POST 200']);
});

test('a page of a listed origin can read why it was refused', async () => {
  const page = await open(origins.listed);
  assert.equal((await call(page, auth)).error, 'unauthorized');
  await signIn('.usher.localhost');
  assert.equal((await call(page, auth, { body: { room: 'globex:1' } })).error, 'forbidden');
});

test('a page of any other origin gets no token and no reason', async () => {
  await signIn('.usher.localhost');
  for (const origin of [origins.unlisted, origins.foreign]) {
    const page = await open(origin);
    assert.deepEqual(await call(page, auth), blocked, origin);
    assert.deepEqual(summary(tap.seen()), ['OPTIONS 204'], 'the request itself was never made');
    assert.deepEqual(await call(page, auth, signOut), blocked, origin);
    assert.deepEqual(summary(tap.seen()), ['OPTIONS 204']);
    // Requests without preflight are sent and refused, and the page sees nothing.
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data']) {
      assert.deepEqual(await call(page, auth, { type }), blocked, `${origin} ${type}`);
      assert.deepEqual(summary(tap.seen()), ['POST 415']);
    }
    const opaque = await call(page, auth, { mode: 'no-cors', type: 'text/plain' });
    assert.deepEqual([opaque.error, opaque.status, opaque.text], origin === origins.unlisted ? [undefined, 0, ''] : [blocked.error, undefined, undefined]);
    assert.deepEqual(summary(tap.seen()), ['POST 415']);
  }
});

test('a page without an origin gets no token', async () => {
  await signIn('.usher.localhost');
  const page = await open(origins.listed);
  const answer = await page.evaluate(
    (auth) =>
      new Promise((resolve) => {
        addEventListener('message', ({ data }) => resolve(data));
        const frame = document.createElement('iframe');
        frame.sandbox = 'allow-scripts';
        frame.srcdoc = `<script>fetch('${auth}', { method: 'POST', credentials: 'include', headers: { 'content-type': 'application/json' }, body: '{}' })
          .then((r) => parent.postMessage(r.status, '*'), (e) => parent.postMessage(String(e), '*'))</script>`;
        document.body.append(frame);
      }),
    auth,
  );
  assert.equal(answer, blocked.error);
  const [preflight, ...more] = tap.seen();
  assert.deepEqual([preflight.headers.origin, more], ['null', []]);
});

test('a form of another site sends the cookie and gets no token', async () => {
  await signIn('.usher.localhost', 'None');
  const page = await open(origins.foreign);
  await page.evaluate((auth) => {
    const form = document.createElement('form');
    form.action = auth;
    form.method = 'POST';
    form.enctype = 'text/plain';
    form.innerHTML = '<input name=\'{"store":"acme_notes","x":"\' value=\'"}\'>';
    document.body.append(form);
    form.submit();
  }, auth);
  await page.waitForURL(auth);
  const [request] = tap.seen();
  assert.deepEqual([request.method, request.status, request.headers['sec-fetch-site']], ['POST', 415, 'cross-site']);
  assert.match(request.headers.cookie, /usher_session/);
});

test('a listed page of another site sends no cookie, and gets none', async () => {
  const page = await open(origins.crossSite);
  // Lax cookies are not sent, and this browser blocks third-party cookies.
  for (const sameSite of ['Lax', 'None']) {
    await signIn('auth.usher.localhost', sameSite);
    assert.equal((await call(page, auth)).status, 401, sameSite);
    for (const { headers } of tap.seen()) assert.equal(headers.cookie, undefined, sameSite);
  }
  const refused = await call(page, `${auth}?mode=cookie`);
  assert.equal(refused.status, 400);
  assert.match(refused.reason, /different site/);
});

test('cookie mode sets a cookie that no script can read, and clears it', async () => {
  await signIn('.usher.localhost');
  const page = await open(origins.listed);
  const into = `${auth}?mode=cookie`;
  const answer = await call(page, into);
  assert.equal(answer.status, 200);
  assert.equal(answer.token, undefined);
  const [cookie, ...more] = await tokenCookies();
  assert.deepEqual(more, []);
  const { value, expires, ...attributes } = cookie;
  assert.deepEqual(attributes, { name: '__Host-usher', domain: 'auth.usher.localhost', path: '/', httpOnly: true, secure: true, sameSite: 'Lax' });
  assert.ok(Math.abs(expires - Date.parse(answer.expiresAt) / 1000) < 3, `${expires} and ${answer.expiresAt}`);
  assert.deepEqual(JSON.parse(atob(value.split('.')[1].replaceAll('-', '+').replaceAll('_', '/'))).stores, { acme_notes: 'full' });
  const own = await open(new URL('/', auth).href);
  assert.equal(await own.evaluate(() => document.cookie), '', 'HttpOnly');

  assert.equal((await call(page, auth, signOut)).status, 204);
  assert.deepEqual(await tokenCookies(), []);
  // Without a session, the cookie is cleared.
  await call(page, into);
  assert.equal((await tokenCookies()).length, 1);
  await context.clearCookies({ name: dev.cookieName });
  assert.equal((await call(page, into)).status, 401);
  assert.deepEqual(await tokenCookies(), []);
});

/** Opens a WebSocket from a page. Returns the headers of its upgrade. */
async function upgrade(origin, url) {
  const page = await open(origin);
  tap.seen();
  await page.evaluate((url) => new Promise((resolve) => (new WebSocket(url).onclose = resolve)), url);
  const [{ headers }] = tap.seen();
  return headers;
}

test('the cookie is sent with WebSockets to its host, even from pages that usher does not list', async () => {
  await signIn('.usher.localhost');
  await call(await open(origins.listed), `${auth}?mode=cookie`);
  const sync = `ws://auth.usher.localhost:${tap.port}/`;
  const own = await upgrade(origins.listed, sync);
  assert.match(own.cookie, /__Host-usher=/);
  assert.equal(own.origin, origins.listed);
  assert.equal(own['sec-fetch-site'], undefined, 'only Origin identifies the page');
  // So a sync backend must check the origin: within a site, SameSite does not help.
  const sibling = await upgrade(origins.unlisted, sync);
  assert.match(sibling.cookie, /__Host-usher=/);
  assert.equal(sibling.origin, origins.unlisted);
  const foreign = await upgrade(origins.foreign, sync);
  assert.equal(foreign.cookie, undefined, 'SameSite=Lax');
  const other = await upgrade(origins.listed, `ws://sync.usher.localhost:${tap.port}/`);
  assert.doesNotMatch(other.cookie, /-usher=/, 'the cookie belongs to one host');
});

test('with a domain, the cookie is sent to a sync backend on another host', async () => {
  await start('--token-cookie-domain', 'usher.localhost');
  await signIn('.usher.localhost');
  const page = await open(origins.listed);
  assert.equal((await call(page, `${auth}?mode=cookie`)).status, 200);
  const [{ name, domain, secure, httpOnly }] = await tokenCookies();
  assert.deepEqual([name, domain, secure, httpOnly], ['__Secure-usher', '.usher.localhost', true, true]);
  const { cookie } = await upgrade(origins.listed, `ws://sync.usher.localhost:${tap.port}/`);
  assert.match(cookie, /__Secure-usher=/);
  assert.equal((await call(page, auth, signOut)).status, 204);
  assert.deepEqual(await tokenCookies(), []);
});

test('the token is in no URL and not in usher’s log', async () => {
  await signIn('.usher.localhost');
  await call(await open(origins.listed), `${auth}?mode=cookie`);
  const [{ value }] = await tokenCookies();
  for (const { url } of tap.seen()) assert.equal(url.includes(value), false, url);
  assert.equal(usher.log().includes(value), false);
});
