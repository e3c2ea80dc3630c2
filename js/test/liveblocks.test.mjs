import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createVerifier } from '@usher-auth/sdk';
import { admit, closeAtExpiry } from '@usher-auth/sdk/liveblocks';

import { audience, full, issuer, newKey, read, start } from './support.mjs';

const key = newKey();
const verifier = createVerifier({ issuer, audience, jwks: { keys: [key.jwk] }, now: () => start * 1000 });

const token = (claims) => key.token({ k: 'acc', pid: 'usher', uid: 'alice', ...claims });

test('a token for the room gives a ticket', async () => {
  const ui = { name: 'José 🎉' };
  const admission = await admit(verifier, token({ perms: { 'acme:*': full }, ui }), 'acme:1');
  assert.equal(admission.ok, true);
  assert.deepEqual(admission.ticket, { id: 'alice', info: ui, scopes: full });
  assert.equal(admission.claims.exp, start + 300);
});

test('scopes come from all matching patterns', async () => {
  for (const [perms, scopes] of [
    [{ '*': full }, full],
    [{ '*': read }, read],
    [{ '*': ['*:write'] }, ['room:write']],
    [{ '*': ['*:read'] }, ['room:read', 'room:presence:write']],
    [{ '*': ['room:read'] }, ['room:read', 'room:presence:write']],
    [{ 'acme:*': read, 'acme:1': full }, full],
    [{ 'acme:1': full, 'acme:*': read }, full],
    [{ 'beta:*': full, 'acme:*': read }, read],
    [{ '*': [...read, ...full] }, full],
    [{ '*': ['*:write', 'storage:none'] }, ['room:write', 'storage:none']],
    [{ '*': ['*:write', 'storage:write'], 'acme:*': ['storage:none'] }, ['room:write', 'storage:none']],
    [{ 'acme:1': ['storage:none'], '*': ['*:write', 'storage:write'] }, ['room:write', 'storage:none']],
    [{ 'acme:1': ['storage:read'], 'acme:1*': ['*:write', 'storage:write'] }, ['room:write', 'storage:write']],
    [{ '*': ['*:write', 'feeds:read', 'comments:public:none'] }, ['room:write', 'feeds:read', 'comments:public:none']],
    [{ '*': ['*:write', 'comments:personal:none', 'storage:toString', 'admin', 'toString:write'] }, ['room:write']],
  ]) {
    const { ticket } = await admit(verifier, token({ perms }), 'acme:1');
    assert.deepEqual(ticket.scopes, scopes, JSON.stringify(perms));
  }
});

test('other connections are closed with a code that clients understand', async () => {
  const good = token({ perms: { 'acme:*': full } });
  const stranger = newKey('EdDSA', key.jwk.kid);
  for (const [name, tok, room, code] of [
    ['no token', null, 'acme:1', 4001],
    ['no room', good, null, 4001],
    ['garbage', 'garbage', 'acme:1', 4001],
    ['alg none', key.token({}, { alg: 'none' }), 'acme:1', 4001],
    ['wrong key', stranger.token({ uid: 'alice', perms: { '*': full } }), 'acme:1', 4001],
    ['another audience', token({ aud: 'other', perms: { '*': full } }), 'acme:1', 4001],
    ['another room', good, 'beta:1', 4001],
    ['a pattern as room', good, 'acme:*', 4001],
    ['nothing granted', token({ perms: { '*': [] } }), 'acme:1', 4001],
    ['presence alone', token({ perms: { '*': ['room:presence:write'] } }), 'acme:1', 4001],
    ['a feature without a base', token({ perms: { '*': ['storage:write'] } }), 'acme:1', 4001],
    ['a token for stores', key.token({ stores: { '*': 'full' } }), 'acme:1', 4001],
    ['an identity token', token({ k: 'id', perms: { '*': full } }), 'acme:1', 4001],
    ['no uid', token({ uid: undefined, perms: { '*': full } }), 'acme:1', 4001],
    ['not valid yet', token({ nbf: start + 60, perms: { '*': full } }), 'acme:1', 4100],
    ['expired', token({ iat: start - 600, exp: start - 300, perms: { '*': full } }), 'acme:1', 4100],
    ['expired and forged', stranger.token({ iat: start - 600, exp: start - 300 }), 'acme:1', 4001],
  ]) {
    const { ok, code: got, reason } = await admit(verifier, tok, room);
    assert.deepEqual([ok, got], [false, code], name);
    assert.ok(reason.length > 0 && Buffer.byteLength(reason) <= 123, 'fits a close frame');
  }
});

test('while keys cannot be fetched, clients are told to reconnect', async () => {
  const cold = createVerifier({
    issuer,
    audience,
    jwks: 'https://usher.example.test/x',
    fetch: () => Promise.reject(new Error('down')),
  });
  const { ok, code } = await admit(cold, token({ perms: { '*': full } }), 'acme:1');
  assert.deepEqual([ok, code], [false, 1013]);
});

test('other errors are not treated as refusals', async () => {
  const broken = { verify: () => Promise.reject(new RangeError('bug')) };
  await assert.rejects(admit(broken, 'x', 'acme:1'), RangeError);
});

/** A socket that records how it was closed. */
const fakeSocket = () => {
  const closed = [];
  return { closed, close: (...args) => closed.push(args) };
};

test('an open socket is closed when its token would no longer be accepted', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: start * 1000 });
  const [socket, strict] = [fakeSocket(), fakeSocket()];
  closeAtExpiry(socket, { exp: start + 300 });
  closeAtExpiry(strict, { exp: start + 300 }, { leeway: 0 });
  t.mock.timers.tick(299_999);
  assert.deepEqual(strict.closed, []);
  t.mock.timers.tick(1);
  assert.deepEqual(strict.closed, [[4109, 'Token expired']]);
  assert.deepEqual(socket.closed, []);
  t.mock.timers.tick(30_000);
  assert.deepEqual(socket.closed, [[4109, 'Token expired']]);
  t.mock.timers.tick(10_000_000);
  assert.equal(socket.closed.length + strict.closed.length, 2, 'once each');
});

test('a cancelled timer closes nothing', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: start * 1000 });
  const socket = fakeSocket();
  closeAtExpiry(socket, { exp: start + 300 })();
  t.mock.timers.tick(10_000_000);
  assert.deepEqual(socket.closed, []);
});

test('a lifetime beyond the limit of timers closes nothing early', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: start * 1000 });
  const socket = fakeSocket();
  const days = 60;
  closeAtExpiry(socket, { exp: start + days * 86_400 }, { leeway: 0 });
  for (let day = 0; day < days; day++) {
    assert.deepEqual(socket.closed, []);
    t.mock.timers.tick(86_400_000);
  }
  assert.equal(socket.closed.length, 1);
});

test('the caller’s clock is used', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  let seconds = start;
  const socket = fakeSocket();
  closeAtExpiry(socket, { exp: start + 300 }, { leeway: 0, now: () => seconds * 1000 });
  t.mock.timers.tick(300_000); // the timer is early by the caller's clock
  assert.deepEqual(socket.closed, []);
  seconds += 300;
  t.mock.timers.tick(300_000);
  assert.equal(socket.closed.length, 1);
});
