// An application that signs its users in with Auth.js, by a link in an e-mail.
// Its tables are in the database that usher reads.
import { createServer } from 'node:http';

import { Auth } from '@auth/core';
import PostgresAdapter from '@auth/pg-adapter';
import pg from 'pg';

/** The configuration of Auth.js, as auth.ts has it in a Next.js application. */
export const createConfig = ({ secret, pool, sendMail, ...options }) => ({
  basePath: '/auth',
  secret,
  trustHost: true,
  adapter: PostgresAdapter(pool),
  // Not "jwt": that keeps the session in an encrypted cookie, which only Auth.js can read.
  session: { strategy: 'database' },
  providers: [
    {
      id: 'email',
      type: 'email',
      name: 'E-mail',
      maxAge: 60 * 60,
      sendVerificationRequest: ({ identifier, url }) => sendMail(identifier, url),
    },
  ],
  ...options,
});

export function createPool(connectionString) {
  const pool = new pg.Pool({ connectionString });
  pool.on('error', ({ message }) => console.warn(message)); // of an idle connection
  return pool;
}

/** Serves Auth.js at `url`. */
export async function startApp(url, config) {
  const server = createServer(async (request, response) => {
    // "http://host/path" and "*" are valid request targets, too.
    if (!request.url.startsWith('/')) return response.writeHead(400).end();
    const hasBody = request.method === 'POST';
    const answer = await Auth(
      new Request(`${url}${request.url}`, {
        method: request.method,
        headers: request.headers,
        ...(hasBody && { body: request, duplex: 'half' }),
      }),
      config,
    );
    response.writeHead(answer.status, { ...Object.fromEntries(answer.headers), 'set-cookie': answer.headers.getSetCookie() });
    response.end(await answer.text());
  });
  const { hostname, port } = new URL(url);
  await new Promise((resolve) => server.listen(port, hostname, resolve));
  return {
    stop() {
      server.close();
      server.closeAllConnections();
    },
  };
}

if (import.meta.main) {
  const { APP_URL: url = 'http://127.0.0.1:3000', AUTH_SECRET: secret, DATABASE_URL: databaseUrl } = process.env;
  const sendMail = (to, link) => console.log(`mail to ${to}: ${link}`);
  await startApp(url, createConfig({ secret, pool: createPool(databaseUrl), sendMail }));
  console.log(`sign in at ${url}/auth/signin`);
}
