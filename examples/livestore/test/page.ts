import { copyFile, readFile } from 'node:fs/promises';
import { createServer, request, type IncomingMessage, type RequestOptions } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { basename, extname, join } from 'node:path';

import { build } from 'esbuild';

const types: Record<string, string> = { '.html': 'text/html', '.js': 'text/javascript', '.wasm': 'application/wasm' };

/** Bundles the page and its workers, like Vite. */
export async function buildPage(folder: string): Promise<void> {
  const shared = 'node_modules/@livestore/adapter-web/dist/web-worker/shared-worker/make-shared-worker.js';
  for (const entry of ['src/page.ts', 'src/livestore.cookie.worker.ts', shared]) {
    await build({
      entryPoints: [entry],
      outdir: folder,
      bundle: true,
      format: 'esm',
      target: 'es2022',
      define: { 'import.meta.env': '{}' },
      logLevel: 'error',
    });
  }
  await copyFile('node_modules/@livestore/wa-sqlite/dist/wa-sqlite.wasm', join(folder, 'wa-sqlite.wasm'));
  await copyFile('src/index.html', join(folder, 'index.html'));
}

export type Page = Awaited<ReturnType<typeof servePage>>;

/** One host for everything: the page's files, /api/auth forwarded to usher, /sync to the sync backend. */
export async function servePage(folder: string) {
  const requests: { url: string; headers: IncomingMessage['headers'] }[] = [];
  const sockets = new Set<Socket>();
  const targets = { usher: '', sync: '' };

  const server = createServer(async (incoming, answer) => {
    const { method, headers, url = '/' } = incoming;
    requests.push({ url, headers });
    const [path] = url.split('?', 1) as [string];
    if (path === '/api/auth') {
      const options: RequestOptions = { method, headers };
      const onward = request(`${targets.usher}${path}${url.slice(path.length)}`, options, (theirs) => {
        answer.writeHead(theirs.statusCode!, theirs.headers);
        theirs.pipe(answer);
      });
      onward.on('error', () => answer.destroy());
      incoming.pipe(onward);
      return;
    }
    const file = path === '/' ? 'index.html' : basename(path);
    const content = await readFile(join(folder, file)).catch(() => undefined);
    answer.writeHead(content ? 200 : 404, { 'content-type': types[extname(file)] ?? 'text/plain' }).end(content ?? 'no such file');
  });
  server.on('upgrade', ({ url = '', headers, rawHeaders }, socket: Socket) => {
    requests.push({ url, headers });
    const [host, port] = targets.sync.split(':') as [string, string];
    const onward = connect(Number(port), host);
    sockets.add(onward);
    const lines = [`GET ${url} HTTP/1.1`];
    for (let at = 0; at < rawHeaders.length; at += 2) lines.push(`${rawHeaders[at]}: ${rawHeaders[at + 1]}`);
    onward.write(`${lines.join('\r\n')}\r\n\r\n`);
    for (const [from, to] of [[socket, onward], [onward, socket]] as const) {
      from.pipe(to);
      from.on('error', () => to.destroy());
      from.on('close', () => to.destroy());
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));

  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    /** The targets of /api/auth and /sync. */
    targets,
    /** All requests so far. */
    requests,
    upgrades: () => requests.filter(({ headers }) => headers.upgrade === 'websocket'),
    /** Breaks all connections to the sync backend. */
    cut() {
      for (const socket of sockets) socket.destroy();
      sockets.clear();
    },
    close: () => server.close().closeAllConnections(),
  };
}
