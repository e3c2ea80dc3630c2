// The programs of docs/backends.md are extracted and run with a real usher.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { after, before, test } from 'node:test';

import { createRemoteJWKSet, jwtVerify } from 'jose';
import pg from 'pg';

import { binDirectory, startUsher } from '../../usher.mjs';
import { here } from './support.mjs';

/** The programs of each language. They print one token from usher's grants and one from the backend's. */
const languages = {
  curl: { needs: 'curl', programs: [['sh', 'tokens.sh']] },
  Node: { needs: 'node', programs: [['node', 'token.mjs'], ['node', 'session.mjs']] },
  Python: { needs: 'python3', programs: [['python3', 'tokens.py']], retries: true },
  Go: { needs: 'go', programs: [['go', 'run', 'tokens.go']], retries: true },
};

let blocks, directory, usher, database, keys, restricted;

before(async () => {
  const guide = await readFile(here('../../docs/backends.md'), 'utf8');
  blocks = new Map([...guide.matchAll(/^```\w+ (\S+)\n(.*?)^```$/gms)].map(([, name, text]) => [name, text]));
  directory = await mkdtemp(join(tmpdir(), 'usher-backends-'));
  for (const [name, text] of blocks) await writeFile(join(directory, name), text);
  await symlink(here('node_modules'), join(directory, 'node_modules'));
  usher = await startUsher();
  keys = createRemoteJWKSet(new URL(usher.jwksUrl));
  database = new pg.Client(usher.databaseUrl);
  await database.connect();
});

after(async () => {
  await database?.end();
  await usher?.stop();
  await rm(directory, { recursive: true });
});

/** Runs a program of the guide. */
async function run([program, ...args], environment) {
  const file = join(directory, args.pop());
  const child = spawn(program, [...args, file], {
    cwd: here('../..'), // the module that the Go program imports
    env: {
      ...process.env,
      PATH: [binDirectory, process.env.PATH].join(delimiter),
      USHER_URL: usher.url,
      USHER_API_KEY: usher.apiKey,
      USHER_DATABASE_URL: usher.databaseUrl,
      ...environment,
    },
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk) => (stdout += chunk));
  child.stderr.on('data', (chunk) => (stderr += chunk));
  const [status] = await once(child, 'close');
  return { status, stdout, stderr };
}

async function runAll(programs, environment) {
  const tokens = [];
  for (const program of programs) {
    const { status, stdout, stderr } = await run(program, environment);
    assert.equal(status, 0, `${program.join(' ')}: ${stdout}${stderr}`);
    tokens.push(...stdout.split('\n').filter(Boolean));
  }
  return tokens;
}

/** The claims of a token, given alone or as usher's answer. */
async function claims(text) {
  const token = text.startsWith('{') ? JSON.parse(text).token : text;
  const { payload } = await jwtVerify(token, keys, { issuer: usher.issuer, audience: usher.audience, typ: 'at+jwt' });
  return payload;
}

/** A proxy for usher that answers every other request with 503. */
async function startFlaky() {
  let requests = 0;
  const server = createServer(async (request, response) => {
    const body = await new Response(request).text();
    if (requests++ % 2 === 0) {
      response.writeHead(503, { 'retry-after': '0' }).end('{"error":"unavailable","reason":"later"}');
      return;
    }
    const { authorization } = request.headers;
    const headers = { authorization, 'content-type': request.headers['content-type'] };
    const answer = await fetch(usher.url + request.url, { method: 'POST', headers, body });
    response.writeHead(answer.status, { 'content-type': 'application/json' }).end(await answer.text());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    requests: () => requests,
    stop: () => new Promise((done) => (server.close(done), server.closeAllConnections())),
  };
}

for (const [language, { needs, programs, retries }] of Object.entries(languages)) {
  const absent = spawnSync(needs, ['--help']).error?.code === 'ENOENT';
  const options = { skip: absent && `${needs} is not installed` };

  test(`${language}: both tokens`, options, async () => {
    const [byGrants, bySession, ...more] = await Promise.all((await runAll(programs)).map(claims));
    assert.deepEqual(more, []);
    for (const { sub, org, ui } of [byGrants, bySession]) {
      assert.deepEqual([sub, org, ui.name], ['ada', 'acme', 'Ada']);
    }
    assert.deepEqual(byGrants.perms['acme:design:*'], ['room:write', 'comments:write']);
    assert.deepEqual(bySession.perms, { 'acme:*': ['room:write', 'comments:write'] });
  });

  test(`${language}: a refusal ends the program and says why`, options, async () => {
    restricted ??= JSON.parse(usher.command('apikey', 'create', '--json', 'restricted', '--room', 'globex:*=read')).key;
    for (const program of programs) {
      const { status, stdout, stderr } = await run(program, { USHER_API_KEY: restricted });
      assert.notEqual(status, 0);
      assert.match(stdout + stderr, /403.*outside of this API key's scope|outside of this API key's scope.*403/s);
      assert.doesNotMatch(stdout + stderr, /eyJ/); // and prints no token
    }
  });

  if (retries) {
    test(`${language}: 503 is retried`, options, async () => {
      const flaky = await startFlaky();
      try {
        const tokens = await Promise.all((await runAll(programs, { USHER_URL: flaky.url })).map(claims));
        assert.deepEqual([tokens.length, flaky.requests()], [2, 4]);
      } finally {
        await flaky.stop();
      }
    });
  }
}

test('keys are created, rotated and revoked as in the guide', async () => {
  const created = await run(['sh', 'create.sh']);
  assert.equal(created.status, 0, created.stderr);
  const key = created.stdout.trim();
  const id = key.split('_')[2];
  const program = ['node', 'session.mjs'];
  assert.equal((await run(program, { USHER_API_KEY: key })).status, 0);

  const rotated = await run(['sh', 'rotate.sh'], { OLD_KEY_ID: id });
  assert.equal(rotated.status, 0, rotated.stderr);
  const [next] = rotated.stdout.split('\n');
  assert.match(rotated.stdout, new RegExp(`${id} +chat-server`));
  assert.equal((await run(program, { USHER_API_KEY: next })).status, 0);
  const refused = await run(program, { USHER_API_KEY: key });
  assert.notEqual(refused.status, 0);
  assert.match(refused.stderr, /403.*INVALID_SECRET_KEY/);

  const { rows: tokens } = await database.query(blocks.get('tokens.sql'), [id]);
  assert.deepEqual(
    tokens.map(({ user_id, organization_id, patterns }) => [user_id, organization_id, patterns]),
    [['ada', 'acme', { rooms: { 'acme:*': 'full' } }]],
  );
  const { rows: denials } = await database.query(blocks.get('denials.sql'), [id]);
  assert.deepEqual(denials.map(({ reason, user_id }) => [reason, user_id]), [['api_key_revoked', 'ada']]);
});
