import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { until } from './store.ts';

export type Usher = Awaited<ReturnType<typeof startUsher>>;

interface Dev {
  url: string;
  issuer: string;
  jwksUrl: string;
  cookieName: string;
  sessions: Record<'ada' | 'grace' | 'mallory', string>;
}

/** Runs `usher dev`, as `npm test` built it, with a database of its own. */
export async function startUsher() {
  const directory = await mkdtemp(join(tmpdir(), 'usher-dev-'));
  const child = spawn('dist/usher', ['dev', '--dir', directory, '--listen', '127.0.0.1:0'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const exited = once(child, 'exit');
  let log = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (log += chunk));

  let dev: Dev | undefined;
  await until('dev.json', async () => {
    if (child.exitCode !== null) throw new Error(`usher dev ended: ${log}`);
    dev = await readFile(join(directory, 'dev.json'), 'utf8').then(JSON.parse).catch(() => undefined);
    return dev !== undefined;
  });

  return {
    ...dev!,
    directory,
    log: () => log,
    cookie: (user: keyof Dev['sessions']) => `${dev!.cookieName}=${dev!.sessions[user]}`,
    async stop() {
      if (child.exitCode === null) child.kill('SIGTERM');
      await exited;
      await rm(directory, { recursive: true, force: true });
    },
  };
}
