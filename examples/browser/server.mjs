// An application: its page, a sign-in in place of a real one, and /api/auth,
// which it forwards to usher, so that usher has the page's own origin.
import { readFile } from 'node:fs/promises';
import { createServer, request } from 'node:http';

const page = new URL('page.html', import.meta.url);

/**
 * Serves the application. `dev` is what `usher dev` writes to dev.json: where
 * usher listens, its public URL, and the sessions of its demo users.
 */
export async function startApp(dev, port = 0) {
  const server = createServer(async (incoming, answer) => {
    // Not parsed as a URL: "//host/path" and "http://host/path" would have the
    // same path, and name another host.
    const [path] = incoming.url.split('?', 1);
    const route = `${incoming.method} ${path}`;
    const user = /^POST .sign-in.(\w+)$/.exec(route)?.[1];
    if (path === '/api/auth') {
      forward(incoming, answer, path + incoming.url.slice(path.length));
    } else if (route === 'GET /') {
      answer.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(await readFile(page));
    } else if (route === 'GET /config.json') {
      const config = { usher: dev.issuer, users: Object.keys(dev.sessions) };
      answer.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(config));
    } else if (Object.hasOwn(dev.sessions, user)) {
      // Lax: the browser does not send it with requests from other sites' pages.
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

  function forward(incoming, answer, path) {
    const { method, headers } = incoming;
    const onward = request(`${dev.url}${path}`, { method, headers }, (theirs) => {
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
