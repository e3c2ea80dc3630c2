// For the tests of these examples: a real usher with its own database, and a
// browser's cookies.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/** The folder that {@link startUsher} builds usher into. */
export const binDirectory = join(root, 'bin/examples');

const program = join(binDirectory, 'usher');

/**
 * What `usher dev` writes to dev.json.
 * @typedef {{
 *   url: string, issuer: string, audience: string, jwksUrl: string, databaseUrl: string, apiKey: string,
 *   cookieName: string, sessions: Record<'ada' | 'grace' | 'mallory', string>,
 * }} Dev
 */

/** @typedef {Awaited<ReturnType<typeof startUsher>>} Usher */

/**
 * Builds usher and runs `usher dev` with its own database.
 * @param {{ flags?: string[], env?: Record<string, string> }} [options]
 */
export async function startUsher({ flags = [], env = {} } = {}) {
  run('go', ['build', '-o', program, './cmd/usher'], { cwd: root });
  const directory = await mkdtemp(join(tmpdir(), 'usher-example-'));
  const args = ['dev', '--dir', directory, '--listen', '127.0.0.1:0', ...flags];
  const child = watch(spawn(program, args, { env: { ...process.env, ...env } }));
  const file = join(directory, 'dev.json');
  /** @type {Dev} */
  const dev = await child.ready(() => readFile(file, 'utf8').then(JSON.parse, () => undefined));

  /** @param {Record<string, string>} headers @param {object} body */
  async function post(headers, body) {
    const response = await fetch(`${dev.url}/api/auth`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
    });
    return { status: response.status, ...(await response.json()) };
  }

  return {
    ...dev,
    directory,
    /** The path of dev.json. */
    file,
    log: child.output,
    /** The session cookie of a demo user. @param {keyof Dev['sessions']} user */
    cookie: (user) => `${dev.cookieName}=${dev.sessions[user]}`,
    /** Runs a subcommand on its database, and returns what it prints. @param {string[]} args */
    command: (...args) => run(program, [...args, '--database-url', dev.databaseUrl]),
    /**
     * Asks for a token as a page of the application does.
     * @param {string} origin
     * @param {string} cookie
     */
    ask: (origin, cookie, body = {}) => post({ origin, cookie }, body),
    /**
     * A token for a demo user, as a page of usher's own origin gets it.
     * @param {keyof Dev['sessions']} user
     * @param {object} body
     * @returns {Promise<string>}
     */
    async token(user, body) {
      const { status, token, reason } = await post({ origin: dev.url, cookie: `${dev.cookieName}=${dev.sessions[user]}` }, body);
      if (status !== 200) throw new Error(`usher answered ${status}: ${reason}`);
      return token;
    },
    /** Asks for a user's token as a backend does. @param {string} userId */
    askFor: (userId) => post({ authorization: `Bearer ${dev.apiKey}` }, { userId }),
    async stop() {
      await child.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/**
 * A child process and its output, which is in the error if the child ends too early.
 * @param {import('node:child_process').ChildProcess} child
 */
export function watch(child) {
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
    /** Waits until `look` returns something truthy, and stops the child if it never does. @param {() => any} look */
    async ready(look) {
      try {
        return await until(`${child.spawnfile} to be ready`, () => (check(), look()));
      } catch (error) {
        await stop();
        throw error;
      }
    },
    /** @param {string} line */
    type: (line) => child.stdin.write(`${line}\n`),
    /** @param {any} message */
    send: (message) => child.send(message),
    /** The next message of a module. @returns {Promise<any[]>} */
    answer: () => Promise.race([once(child, 'message'), exited.then(check)]),
  };
}

/**
 * Resolves to what `look` returns once that is truthy. The limit only ends a test that fails.
 * @template T
 * @param {string} what
 * @param {() => T | Promise<T>} look
 */
export async function until(what, look, seconds = 120) {
  for (const end = Date.now() + seconds * 1000; ; await new Promise((resolve) => setTimeout(resolve, 20))) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`waited ${seconds} s for: ${what}`);
  }
}

/**
 * Runs a program to its end and returns what it prints.
 * @param {string} program
 * @param {string[]} args
 * @param {object} [options]
 */
export function run(program, args, options) {
  const { error, status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', ...options });
  if (error || status !== 0) throw new Error(`${program} ${args.join(' ')}: ${error ?? stderr}`);
  return stdout;
}

/** Resolves to a TCP port of this machine that is not in use. */
export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

/** The environment variables that docs/identity.md gives in the block of this name. @param {string} name */
export async function configuration(name) {
  const guide = await readFile(join(root, 'docs/identity.md'), 'utf8');
  const [, text] = guide.match(new RegExp(`^\`\`\`sh ${name}\n(.*?)^\`\`\`$`, 'ms'));
  return Object.fromEntries([...text.matchAll(/^(\w+)=(.*)$/gm)].map(([, variable, value]) => [variable, value]));
}

/** The cookies of a browser. */
export class Cookies {
  #values = new Map();

  /** Applies the response's Set-Cookie headers. @param {Response} response */
  take(response) {
    for (const line of response.headers.getSetCookie()) {
      const [, name, value] = line.match(/^([^=]+)=([^;]*)/);
      if (value === '' || /max-age=0/i.test(line)) this.#values.delete(name);
      else this.#values.set(name, value);
    }
    return response;
  }

  get names() {
    return [...this.#values.keys()];
  }

  toString() {
    return [...this.#values].map(([name, value]) => `${name}=${value}`).join('; ');
  }
}
