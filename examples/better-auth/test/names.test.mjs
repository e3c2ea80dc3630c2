// Better Auth with renamed tables and columns.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { admin, anonymous, organization } from 'better-auth/plugins';
import pg from 'pg';

import { Cookies, freePort, startUsher } from '../../usher.mjs';
import { startApp } from '../server.mjs';

const secret = 'aM2Yx0v7Qk4wT9rB5nE8uJ1sD6hF3gLz';

let usher, url, database;

before(async () => {
  url = `http://127.0.0.1:${await freePort()}`;
  usher = await startUsher({
    env: {
      USHER_SESSION_COOKIE: 'better-auth.session_token',
      USHER_SESSION_COOKIE_SECRET: secret,
      USHER_ORIGINS: url,
    },
  });
  database = new pg.Client(usher.databaseUrl);
  await database.connect();
});

after(async () => {
  await database?.end();
  await usher?.stop();
});

const snakeCase = {
  user: { fields: { emailVerified: 'email_verified', createdAt: 'created_at', updatedAt: 'updated_at' } },
  session: {
    fields: {
      userId: 'user_id',
      expiresAt: 'expires_at',
      createdAt: 'created_at',
      updatedAt: 'updated_at',
      ipAddress: 'ip_address',
      userAgent: 'user_agent',
    },
  },
};

// Functions, because the plugins of Better Auth 1.6 share and change their schemas.
const inSnakeCase = () => ({
  ...snakeCase,
  plugins: [
    organization({
      teams: { enabled: true },
      schema: {
        session: { fields: { activeOrganizationId: 'active_organization_id', activeTeamId: 'active_team_id' } },
        member: { fields: { organizationId: 'organization_id', userId: 'user_id', createdAt: 'created_at' } },
        team: { fields: { organizationId: 'organization_id', createdAt: 'created_at', updatedAt: 'updated_at' } },
        teamMember: { modelName: 'team_member', fields: { teamId: 'team_id', userId: 'user_id', createdAt: 'created_at' } },
      },
    }),
    admin({ schema: { user: { fields: { banExpires: 'ban_expires', banReason: 'ban_reason' } }, session: { fields: { impersonatedBy: 'impersonated_by' } } } }),
  ],
});

const renamed = () => ({
  plugins: [
    organization({
      teams: { enabled: true },
      schema: {
        session: { fields: { activeOrganizationId: 'current_org' } },
        member: { modelName: 'members', fields: { userId: 'person' } },
      },
    }),
    admin({ schema: { user: { fields: { banned: 'is_banned' } } } }),
  ],
});

for (const { name, options, refused, flags } of [
  { name: 'the snake_case names are found', options: inSnakeCase, refused: [], flags: [] },
  {
    name: 'other names must be named',
    options: renamed,
    refused: [
      [[], /there is no|and no/],
      [['--column', 'banned=is_banned'], /and no session.activeOrganizationId/],
      [['--column', 'banned=is_banned', '--table', 'member=members'], /has no column userId/],
      [['--column', 'banned=is_banned', '--table', 'member=members', '--column', 'member.userId=person'], /and no session.activeOrganizationId/],
    ],
    flags: ['--column', 'banned=is_banned', '--table', 'member=members', '--column', 'member.userId=person', '--column', 'activeOrganizationId=current_org'],
  },
]) {
  test(name, async () => {
    await database.query('DROP SCHEMA public CASCADE; CREATE SCHEMA public');
    const app = await startApp({ url, secret, databaseUrl: usher.databaseUrl, ...options() });
    try {
      for (const [flags, error] of refused) assert.throws(() => usher.command('directory', 'use', 'better-auth', ...flags), error);
      const reads = usher.command('directory', 'use', 'better-auth', ...flags);
      for (const what of ['bans', 'active organization', 'members', 'teams']) {
        assert.match(reads, new RegExp(`^${what}: found \\(`, 'm'));
      }

      const cookies = new Cookies();
      const post = async (path, body) => {
        const headers = { 'content-type': 'application/json', origin: url, cookie: `${cookies}` };
        const response = cookies.take(await fetch(`${url}/api/auth/${path}`, { method: 'POST', headers, body: JSON.stringify(body) }));
        const text = await response.text();
        assert.equal(response.status, 200, `${path}: ${text}`);
        return JSON.parse(text);
      };
      const { user } = await post('sign-up/email', { name: 'Ada', email: 'ada@example.com', password: 'correct horse' });
      const organizations = [];
      for (const name of ['acme', 'globex']) {
        const { id } = await post('organization/create', { name, slug: name });
        organizations.push(id);
        usher.command('grant', 'add', '--org', id, '--room', `${id}:*`, '--access', 'full');
      }
      const [acme, globex] = organizations;
      await post('organization/set-active', { organizationId: acme });
      assert.equal((await usher.ask(url, `${cookies}`, { room: `${acme}:1` })).status, 200);
      assert.equal((await usher.ask(url, `${cookies}`, { room: `${globex}:1` })).status, 403, 'not the active organization');

      const banned = options === renamed ? 'is_banned' : 'banned';
      await database.query(`UPDATE "user" SET ${banned} = true WHERE id = $1`, [user.id]);
      assert.equal((await usher.ask(url, `${cookies}`)).status, 403);
      assert.equal((await usher.askFor(user.id)).status, 403);
    } finally {
      await app.stop();
      usher.command('directory', 'use', 'usher');
    }
  });
}

test('anonymous users get a token only if they are allowed', async () => {
  await database.query('DROP SCHEMA public CASCADE; CREATE SCHEMA public');
  const app = await startApp({ url, secret, databaseUrl: usher.databaseUrl, plugins: [anonymous()] });
  try {
    usher.command('grant', 'add', '--everyone', '--room', 'lobby', '--access', 'read');
    const cookies = new Cookies();
    const headers = { 'content-type': 'application/json', origin: url };
    cookies.take(await fetch(`${url}/api/auth/sign-in/anonymous`, { method: 'POST', headers, body: '{}' }));
    assert.match(usher.command('directory', 'use', 'better-auth'), /anonymous users: found \(user\.isAnonymous\); disabled/);
    assert.equal((await usher.ask(url, `${cookies}`)).status, 403);
    assert.match(usher.command('directory', 'use', 'better-auth', '--allow-anonymous'), /anonymous users: found \(user\.isAnonymous\); allowed/);
    assert.equal((await usher.ask(url, `${cookies}`)).status, 200);
  } finally {
    await app.stop();
  }
});
