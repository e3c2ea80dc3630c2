// For the tests of these examples: a real usher, with a database of its own.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/** The configuration that docs/identity.md gives, as an environment. */
export async function configuration(name) {
  const guide = await readFile(join(root, 'docs/identity.md'), 'utf8');
  const [, text] = guide.match(new RegExp(`^\`\`\`sh ${name}\n(.*?)^\`\`\`$`, 'ms'));
  return Object.fromEntries([...text.matchAll(/^(\w+)=(.*)$/gm)].map(([, variable, value]) => [variable, value]));
}

/** Builds usher into `program` and runs `usher dev` with that environment. */
export async function startUsher(program, configuration) {
  run('go', ['build', '-o', program, './cmd/usher'], { cwd: root });
  const directory = await mkdtemp(join(tmpdir(), 'usher-example-'));
  const child = spawn(program, ['dev', '--dir', directory, '--listen', '127.0.0.1:0'], { env: { ...process.env, ...configuration } });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
  const exited = once(child, 'close');
  const stop = async () => {
    child.kill('SIGTERM');
    await exited;
    await rm(directory, { recursive: true, force: true });
  };

  let dev;
  for (const end = Date.now() + 40_000; !dev; await new Promise((resolve) => setTimeout(resolve, 20))) {
    dev = await readFile(join(directory, 'dev.json'), 'utf8').then(JSON.parse, () => undefined);
    if (!dev && (child.exitCode !== null || Date.now() > end)) {
      await stop();
      throw new Error(`usher dev is not ready: ${output}`);
    }
  }
  return {
    ...dev,
    stop,
    /** Runs a subcommand on its database, and returns what it prints. */
    command: (...args) => run(program, [...args, '--database-url', dev.databaseUrl]),
    /** Asks for a token as a page of the application does, with the cookies that it has. */
    async ask(origin, cookie, body = {}) {
      const headers = { 'content-type': 'application/json', origin, cookie };
      const response = await fetch(`${dev.url}/api/auth`, { method: 'POST', headers, body: JSON.stringify(body) });
      return { status: response.status, ...(await response.json()) };
    },
    /** Asks for a user's token as a backend does. */
    async askFor(userId) {
      const headers = { 'content-type': 'application/json', authorization: `Bearer ${dev.apiKey}` };
      const response = await fetch(`${dev.url}/api/auth`, { method: 'POST', headers, body: JSON.stringify({ userId }) });
      return { status: response.status, ...(await response.json()) };
    },
  };
}

function run(program, args, options) {
  const { error, status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', ...options });
  if (error || status !== 0) throw new Error(`${program} ${args.join(' ')}: ${error ?? stderr}`);
  return stdout;
}

/** A browser, as far as cookies go. */
export class Cookies {
  #values = new Map();

  /** Takes what a response sets and clears. */
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
