import { fork, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import pg from 'pg';

/** A path in this example. */
export const here = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));

/** Resolves to what `look` returns once that is true; the limit only ends a test that fails. */
export async function until(what, look, seconds = 40) {
  for (const end = Date.now() + seconds * 1000; ; await new Promise((resolve) => setTimeout(resolve, 20))) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`waited ${seconds} s for: ${what}`);
  }
}

/** Whether a room stands as wanted. The client says "connected" a moment before it knows itself. */
export const stands = ({ status, self }, wanted) => status === wanted && (wanted !== 'connected' || self !== null);

/** Builds usher and runs `usher dev` with a database of its own. */
export async function startUsher(...flags) {
  const program = here('node_modules/.cache/usher'); // where the next test file finds it built
  run('go', ['build', '-o', program, './cmd/usher'], { cwd: here('../..') });
  const directory = await mkdtemp(join(tmpdir(), 'usher-liveblocks-'));
  const child = start(spawn(program, ['dev', '--dir', directory, '--listen', '127.0.0.1:0', ...flags]));
  const file = join(directory, 'dev.json');
  const dev = await child.ready(() => readFile(file, 'utf8').then(JSON.parse, () => undefined));
  const cookie = (user) => `${dev.cookieName}=${dev.sessions[user]}`;
  return {
    ...dev,
    file,
    cookie,
    /** Runs a subcommand on its database, and returns what it prints. */
    command: (...args) => run(program, [...args, '--database-url', dev.databaseUrl]),
    /** Asks for a token as a page of usher's own origin does. */
    async token(user, body) {
      const headers = { 'content-type': 'application/json', origin: dev.url, cookie: cookie(user) };
      const response = await fetch(`${dev.url}/api/auth`, { method: 'POST', headers, body: JSON.stringify(body) });
      const answer = await response.json();
      if (!response.ok) throw new Error(`usher answered ${response.status}: ${answer.reason}`);
      return answer.token;
    },
    async stop() {
      await child.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** Ends usher's connections to its database and allows none until `restore`. */
export async function refuseConnections(databaseUrl) {
  const owner = new pg.Client(databaseUrl);
  await owner.connect();
  const limit = (n) => owner.query(`ALTER DATABASE ${pg.escapeIdentifier(owner.database)} CONNECTION LIMIT ${n}`);
  await limit(0); // which does not hold for the owner, a superuser
  await owner.query(`
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
     WHERE datname = current_database() AND pid <> pg_backend_pid()`);
  return {
    async restore() {
      await limit(-1);
      await owner.end();
    },
  };
}

/** Runs server.mjs, as npm start does, for the tokens of a running usher. */
export async function startServer({ issuer }) {
  const env = { ...process.env, USHER_ISSUER: issuer, PORT: '0' };
  const child = start(spawn(process.execPath, [here('server.mjs')], { env }));
  const [url] = await child.ready(() => child.output().match(/http:\S+(?=,)/));
  return { url, stop: child.stop };
}

/** Runs a sync server whose clock stands still and is set by the test, in milliseconds. */
export async function startServerWithClock(config, time) {
  const child = startModule('test/server-process.mjs', JSON.stringify(config), String(time));
  const [port] = await child.answer();
  return {
    url: `http://127.0.0.1:${port}`,
    async setClock(time) {
      child.send(time);
      await child.answer();
    },
    stop: child.stop,
  };
}

/** Runs one of several versions of the client, which do not load together, to be called. */
export const startClient = (version, config) => callable('test/client-process.mjs', version, JSON.stringify(config));

/** Runs one of several versions of the Node SDK, which do not load together either, to be called. */
export const startSDK = (version, config) => callable('test/sdk-process.mjs', version, JSON.stringify(config));

/** Runs a module of the guide as a browser's page, to be called. */
export const startPage = (config) => callable('test/page-process.mjs', JSON.stringify(config));

async function callable(file, ...args) {
  const child = startModule(file, ...args);
  await child.answer();
  return {
    async call(name, ...args) {
      child.send({ name, args });
      const [answer] = await child.answer();
      return answer;
    },
    stop: child.stop,
  };
}

/** Runs client.mjs, the program. */
export function startProgram(user, room, { file, syncUrl }) {
  const env = { ...process.env, USHER_DEV: file, SYNC_URL: syncUrl };
  return start(spawn(process.execPath, [here('client.mjs'), user, room], { env }));
}

const startModule = (file, ...args) => start(fork(here(file), args, { silent: true }));

/** A child and what it prints, which is shown where it ends too early. */
function start(child) {
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
  const exited = once(child, 'close');
  const check = () => {
    const code = child.exitCode ?? child.signalCode;
    if (code !== null) throw new Error(`${child.spawnargs.join(' ')} ended with ${code}: ${output}`);
  };
  const stop = async () => {
    child.kill('SIGTERM');
    await exited;
  };
  return {
    output: () => output,
    exited,
    stop,
    /** Waits until `look` returns something true, and stops the child where it never does. */
    async ready(look) {
      try {
        return await until(`${child.spawnfile} to be ready`, () => (check(), look()));
      } catch (error) {
        await stop();
        throw error;
      }
    },
    type: (line) => child.stdin.write(`${line}\n`),
    send: (message) => child.send(message),
    /** The next message of a module. */
    answer: () => Promise.race([once(child, 'message'), exited.then(check)]),
  };
}

function run(program, args, options) {
  const { error, status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', ...options });
  if (error || status !== 0) throw new Error(`${program} ${args[0]}: ${error ?? stderr}`);
  return stdout;
}
