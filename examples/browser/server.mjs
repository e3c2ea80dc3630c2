// An application: its page, a sign-in that stands in for a real one, and
// /api/auth passed on to usher, which is then of the page's own origin.
import { readFile } from 'node:fs/promises';
import { createServer, request } from 'node:http';

const page = new URL('page.html', import.meta.url);

/**
 * Serves the application, for an usher that `usher dev` describes in dev.json:
 * where it listens, what browsers call it, and its demo's sessions.
 */
export async function startApp(dev, port = 0) {
  const server = createServer(async (incoming, answer) => {
    const { pathname } = new URL(incoming.url, 'http://app');
    const route = `${incoming.method} ${pathname}`;
    const user = /^POST .sign-in.(\w+)$/.exec(route)?.[1];
    if (pathname === '/api/auth') {
      passOn(incoming, answer);
    } else if (route === 'GET /') {
      answer.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(await readFile(page));
    } else if (route === 'GET /config.json') {
      const config = { usher: dev.issuer, users: Object.keys(dev.sessions) };
      answer.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(config));
    } else if (Object.hasOwn(dev.sessions, user)) {
      // Lax: no page of another site can make the browser send it along.
      setSession(answer, `${dev.sessions[user]}; Path=/; HttpOnly; SameSite=Lax`);
    } else if (route === 'POST /sign-out') {
      setSession(answer, '; Path=/; HttpOnly; SameSite=Lax; Max-Age=0');
    } else {
      answer.writeHead(404).end();
    }
  });

  function setSession(answer, cookie) {
    answer.writeHead(204, { 'set-cookie': `${dev.cookieName}=${cookie}` }).end();
  }

  function passOn(incoming, answer) {
    const { method, headers } = incoming;
    const onward = request(new URL(incoming.url, dev.url), { method, headers }, (theirs) => {
      answer.writeHead(theirs.statusCode, theirs.headers);
      theirs.pipe(answer);
    });
    onward.on('error', () => answer.destroy());
    incoming.pipe(onward);
  }

  await new Promise((resolve) => server.listen(port, '127.0.0.1', resolve));
  return { port: server.address().port, close: () => server.close().closeAllConnections() };
}

if (import.meta.filename === process.argv[1]) {
  const file = process.env.USHER_DEV_FILE ?? new URL('../../.usher/dev.json', import.meta.url);
  const { port } = await startApp(JSON.parse(await readFile(file, 'utf8')), Number(process.env.PORT ?? 3000));
  console.log(`http://127.0.0.1:${port}`);
}
