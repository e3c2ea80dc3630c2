import { execFileSync } from 'node:child_process';
import { createServer, request } from 'node:http';
import { fileURLToPath } from 'node:url';

import { chromium } from 'playwright-core';

const root = fileURLToPath(new URL('../../../', import.meta.url));

export function startChromium() {
  const executablePath = execFileSync('scripts/chromium.sh', { cwd: root, encoding: 'utf8' }).trim();
  // Its sandbox does not start for root, nor in most containers.
  return chromium.launch({ executablePath, chromiumSandbox: false });
}

/** A proxy between browsers and usher that records their requests. */
export async function startTap() {
  const seen = [];
  let target;
  const server = createServer((incoming, answer) => {
    const { method, url, headers } = incoming;
    const onward = request(`${target}${url}`, { method, headers }, (theirs) => {
      seen.push({ method, url, headers, status: theirs.statusCode, answer: theirs.headers });
      answer.writeHead(theirs.statusCode, theirs.headers);
      theirs.pipe(answer);
    });
    onward.on('error', () => answer.destroy());
    incoming.pipe(onward);
  });
  // In place of a sync backend: records upgrades, and accepts none.
  server.on('upgrade', ({ url, headers }, socket) => {
    seen.push({ method: 'UPGRADE', url, headers });
    socket.destroy();
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: server.address().port,
    /** Sets the target of requests. */
    to: (url) => (target = url),
    /** The requests since the last call. */
    seen: () => seen.splice(0),
    close: () => server.close().closeAllConnections(),
  };
}
