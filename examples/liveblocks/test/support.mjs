import { fork, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import pg from 'pg';

import { watch } from '../../usher.mjs';

/** A path in this example. */
export const here = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));

/** Whether a room stands as wanted. The client says "connected" a moment before it knows itself. */
export const stands = ({ status, self }, wanted) => status === wanted && (wanted !== 'connected' || self !== null);

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
  const child = watch(spawn(process.execPath, [here('server.mjs')], { env }));
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
  return watch(spawn(process.execPath, [here('client.mjs'), user, room], { env }));
}

const startModule = (file, ...args) => watch(fork(here(file), args, { silent: true }));
