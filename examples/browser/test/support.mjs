import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { chromium } from 'playwright-core';

const root = fileURLToPath(new URL('../../../', import.meta.url));

/** Resolves to what `look` returns once that is true; the limit only ends a test that fails. */
export async function until(what, look, seconds = 40) {
  for (const end = Date.now() + seconds * 1000; ; await new Promise((resolve) => setTimeout(resolve, 20))) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`waited ${seconds} s for: ${what}`);
  }
}

export function startChromium() {
  const executablePath = execFileSync('scripts/chromium.sh', { cwd: root, encoding: 'utf8' }).trim();
  // Its sandbox does not start for root, nor in most containers.
  return chromium.launch({ executablePath, chromiumSandbox: false });
}

/** Builds usher and runs `usher dev` with a database of its own. */
export async function startUsher(...flags) {
  const program = join(root, 'examples/browser/node_modules/.cache/usher');
  execFileSync('go', ['build', '-o', program, './cmd/usher'], { cwd: root, stdio: 'inherit' });
  const directory = await mkdtemp(join(tmpdir(), 'usher-browser-'));
  const child = spawn(program, ['dev', '--dir', directory, '--listen', '127.0.0.1:0', ...flags]);
  const exited = once(child, 'exit');
  let log = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (log += chunk));
  const dev = await until('dev.json', () => {
    if (child.exitCode !== null) throw new Error(`usher dev ended: ${log}`);
    return readFile(join(directory, 'dev.json'), 'utf8').then(JSON.parse, () => undefined);
  });
  return {
    ...dev,
    log: () => log,
    async stop() {
      child.kill('SIGTERM');
      await exited;
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** Stands between browsers and usher, and keeps what they say to each other. */
export async function startTap() {
  const seen = [];
  let target;
  const server = createServer((incoming, answer) => {
    const { method, url, headers } = incoming;
    const onward = request(new URL(url, target), { method, headers }, (theirs) => {
      seen.push({ method, url, headers, status: theirs.statusCode, answer: theirs.headers });
      answer.writeHead(theirs.statusCode, theirs.headers);
      theirs.pipe(answer);
    });
    onward.on('error', () => answer.destroy());
    incoming.pipe(onward);
  });
  // A sync backend that answers no upgrade: it only sees who asks, with what.
  server.on('upgrade', ({ url, headers }, socket) => {
    seen.push({ method: 'UPGRADE', url, headers });
    socket.destroy();
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: server.address().port,
    /** Where requests go. */
    to: (url) => (target = url),
    /** What came since the last call. */
    seen: () => seen.splice(0),
    close: () => server.close().closeAllConnections(),
  };
}
