import { fork, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import pg from 'pg';

import { watch } from '../../usher.mjs';

/** A path in this example. */
export const here = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));

/** Whether a room has a status. The client reports "connected" shortly before it knows itself. */
export const stands = ({ status, self }, wanted) => status === wanted && (wanted !== 'connected' || self !== null);

/** Ends usher's connections to its database and allows none until `restore`. */
export async function refuseConnections(databaseUrl) {
  const owner = new pg.Client(databaseUrl);
  await owner.connect();
  const limit = (n) => owner.query(`ALTER DATABASE ${pg.escapeIdentifier(owner.database)} CONNECTION LIMIT ${n}`);
  await limit(0); // does not apply to the owner, a superuser
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

/** Runs server.mjs, like npm start, for the tokens of a running usher. */
export async function startServer({ issuer }) {
  const env = { ...process.env, USHER_ISSUER: issuer, PORT: '0' };
  const child = watch(spawn(process.execPath, [here('server.mjs')], { env }));
  const [url] = await child.ready(() => child.output().match(/http:\S+(?=,)/));
  return { url, stop: child.stop };
}

/** Runs a sync server with a clock that the test sets, in milliseconds. */
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

/** Runs a version of the client in its own process, since several cannot be loaded in one. */
export const startClient = (version, config) => callable('test/client-process.mjs', version, JSON.stringify(config));

/** Runs a version of the Node SDK in its own process. */
export const startSDK = (version, config) => callable('test/sdk-process.mjs', version, JSON.stringify(config));

/** Runs a module of the guide as a page in a browser. */
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

/** Runs client.mjs. */
export function startProgram(user, room, { file, syncUrl }) {
  const env = { ...process.env, USHER_DEV: file, SYNC_URL: syncUrl };
  return watch(spawn(process.execPath, [here('client.mjs'), user, room], { env }));
}

const startModule = (file, ...args) => watch(fork(here(file), args, { silent: true }));
