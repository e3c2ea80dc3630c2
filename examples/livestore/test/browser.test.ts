// The page in Chromium, with a token in a cookie from a real usher, and the real
// sync backend of docs/livestore.md.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { after, before, test } from 'node:test';

import { chromium, type Browser, type BrowserContext, type Page as Tab } from 'playwright-core';

import { startUsher, until, type Usher } from '../../usher.mjs';
import { readBlocks, startBlock } from './guide.ts';
import { buildPage, servePage, type Page } from './page.ts';
import type { Worker } from './workerd.ts';

let folder: string;
let browser: Browser;
let usher: Usher;
let worker: Worker;
let page: Page;
let stranger: Page; // on the same host, with another origin

before(async () => {
  folder = await mkdtemp('guide-');
  await buildPage(folder);
  [page, stranger, usher] = await Promise.all([servePage(folder), servePage(folder), startUsher()]);
  const text = (await readBlocks()).get('ts cookie.ts')!;
  assert.ok(text.includes('https://app.example.com'));
  worker = await startBlock(folder, 'cookie.ts', text.replace('https://app.example.com', page.origin), usher);
  for (const { targets } of [page, stranger]) Object.assign(targets, { usher: usher.url, sync: worker.address });
  const executablePath = execFileSync('../../scripts/chromium.sh', { encoding: 'utf8' }).trim();
  browser = await chromium.launch({ executablePath, chromiumSandbox: false }); // it does not start for root
});

after(async () => {
  await browser?.close();
  await worker?.close();
  await usher?.stop();
  for (const server of [page, stranger]) server?.close();
  if (folder) await rm(folder, { recursive: true });
});

/** A separate browser in which a user is signed in. */
async function signIn(user: keyof Usher['sessions']): Promise<BrowserContext> {
  const context = await browser.newContext();
  const cookie = { name: usher.cookieName, value: usher.sessions[user], url: page.origin, httpOnly: true, sameSite: 'Lax' as const };
  await context.addCookies([cookie]);
  return context;
}

async function open(context: BrowserContext, origin = page.origin): Promise<Tab> {
  const tab = await context.newPage();
  await tab.goto(origin);
  return tab;
}

async function add(tab: Tab, text: string): Promise<void> {
  await tab.fill('input', text);
  await tab.click('button');
}

const sees = (tab: Tab, text: string) => tab.waitForSelector(`li:text-is("${text}")`);

async function tokenCookie(context: BrowserContext): Promise<string> {
  return (await context.cookies()).find(({ name }) => name === '__Host-usher')?.value ?? '';
}

/** The cookies of the last upgrade. */
const lastUpgrade = () => page.upgrades().at(-1)?.headers.cookie ?? '';

test('the page syncs with a token that is in no script and no URL', async () => {
  const [ada, grace] = await Promise.all([signIn('ada'), signIn('grace')]);
  const [adaTab, graceTab] = await Promise.all([open(ada), open(grace)]);
  await add(adaTab, 'from ada');
  await sees(graceTab, 'from ada');

  // Each connection sends the cookie that usher set last.
  const first = await tokenCookie(ada);
  assert.ok(page.upgrades().some(({ headers }) => headers.cookie?.includes(first)));
  await grace.close();
  const renewed = await adaTab.evaluate(async () => {
    const headers = { 'content-type': 'application/json' };
    const response = await fetch('/api/auth?mode=cookie', { method: 'POST', headers, body: '{"store":"acme_notes"}' });
    return response.text();
  });
  assert.match(renewed, /^\{"expiresAt":"[^"]+"\}$/);
  const second = await tokenCookie(ada);
  assert.notEqual(second, first);
  page.cut();
  await until('a connection with the new token', () => lastUpgrade().includes(second));
  await add(adaTab, 'after the cut');
  const again = await signIn('grace');
  await sees(await open(again), 'after the cut');

  assert.match(worker.log(), /WebSocket/, 'the log is not empty');
  for (const token of [first, second, await tokenCookie(again)]) {
    assert.match(token, /^eyJ/);
    for (const { url } of page.requests) assert.equal(url.includes(token) || url.includes('payload='), false, url);
    assert.equal(worker.log().includes(token), false, 'the sync backend’s log');
    assert.equal(usher.log().includes(token), false, 'usher’s log');
  }
  await Promise.all([ada.close(), again.close()]);
});

test('sign-out clears the cookie, and without it the socket is refused', async () => {
  const context = await signIn('ada');
  const tab = await open(context);
  await until('a connection', async () => {
    const token = await tokenCookie(context);
    return token !== '' && lastUpgrade().includes(token);
  });
  await context.clearCookies({ name: usher.cookieName });
  const status = await tab.evaluate(async () => (await fetch('/api/auth', { method: 'DELETE' })).status);
  assert.equal(status, 204);
  assert.equal(await tokenCookie(context), '');
  const before = page.upgrades().length;
  page.cut();
  await until('a connection without it', () => page.upgrades().length > before);
  assert.doesNotMatch(lastUpgrade(), /__Host-usher/);
  const other = await signIn('grace');
  await add(tab, 'after the sign-out');
  const otherTab = await open(other);
  await sees(otherTab, 'from ada');
  assert.equal(await otherTab.locator('li:text-is("after the sign-out")').count(), 0);
  await Promise.all([context.close(), other.close()]);
});

test('a page of another origin sends the cookie, and is refused', async () => {
  const context = await signIn('ada');
  await open(context);
  await until('the cookie', async () => (await tokenCookie(context)) !== '');
  // Another port is the same site, so SameSite does not prevent it.
  const tab = await context.newPage();
  await tab.goto(`${stranger.origin}/no-such-file`);
  const answer = await tab.evaluate(
    (url) =>
      new Promise((resolve) => {
        const socket = new WebSocket(url);
        socket.onopen = () => resolve('open');
        socket.onerror = () => resolve('refused');
      }),
    `${page.origin.replace('http', 'ws')}/sync?storeId=acme_notes&transport=ws`,
  );
  assert.equal(answer, 'refused');
  const { cookie = '', origin } = page.upgrades().at(-1)!.headers;
  assert.ok(cookie.includes(await tokenCookie(context)), 'the cookie was sent');
  assert.equal(origin, stranger.origin);
  await context.close();
});
