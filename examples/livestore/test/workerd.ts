import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';

const workerd: string = createRequire(import.meta.url)('workerd').default; // the program's path

export type Worker = Awaited<ReturnType<typeof startWorker>>;

interface Keys {
  issuer: string;
  jwksUrl: string;
}

/** Runs a folder's workerd.capnp on free ports, with its own storage. */
export async function startWorker({ issuer, jwksUrl }: Keys, folder = '.') {
  const directory = await mkdtemp(join(tmpdir(), 'usher-livestore-'));
  const child = spawn(
    workerd,
    [
      'serve',
      'workerd.capnp',
      '--socket-addr=http=127.0.0.1:0',
      '--socket-addr=operators=127.0.0.1:0',
      `--directory-path=storage=${directory}`,
      '--control-fd=3',
    ],
    { cwd: folder, stdio: ['ignore', 'pipe', 'pipe', 'pipe'], env: { USHER_ISSUER: issuer, USHER_JWKS_URL: jwksUrl } },
  );
  const exited = once(child, 'exit');
  let log = '';
  for (const stream of [child.stdout!, child.stderr!]) stream.on('data', (chunk) => (log += chunk));

  // workerd reports its ports on the control descriptor.
  const ports = new Map<string, number>();
  for await (const line of createInterface(child.stdio[3] as Readable)) {
    const { event, socket, port } = JSON.parse(line);
    if (event === 'listen') ports.set(socket, port);
    if (ports.size === 2) break;
  }
  if (ports.size < 2) throw new Error(`workerd did not start: ${log}`);

  return {
    address: `127.0.0.1:${ports.get('http')}`,
    operators: `http://127.0.0.1:${ports.get('operators')}`,
    log: () => log,
    async close() {
      child.kill('SIGKILL'); // on SIGTERM it waits ten seconds for its connections
      await exited;
      await rm(directory, { recursive: true });
    },
  };
}
