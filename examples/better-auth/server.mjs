// An application that signs its users in with Better Auth. Its tables are in the
// database that usher reads.
import { createServer } from 'node:http';

import { betterAuth } from 'better-auth';
import { getMigrations } from 'better-auth/db/migration';
import { toNodeHandler } from 'better-auth/node';
import { admin, organization } from 'better-auth/plugins';
import pg from 'pg';

export function createAuth({ url, secret, databaseUrl, ...options }) {
  const pool = new pg.Pool({ connectionString: databaseUrl });
  pool.on('error', ({ message }) => console.warn(message)); // of an idle connection
  return betterAuth({
    baseURL: url,
    secret, // usher verifies the cookie with the same secret: --session-cookie-secret
    database: pool,
    emailAndPassword: { enabled: true },
    // In usher, teams are groups. Banned users get no token.
    plugins: [organization({ teams: { enabled: true } }), admin()],
    ...options,
  });
}

export async function startApp(options) {
  const auth = createAuth(options);
  // Once, like "npx auth@latest migrate". Then run: usher directory use better-auth.
  const { runMigrations } = await getMigrations(auth.options);
  await runMigrations();
  const server = createServer(toNodeHandler(auth)); // everything below /api/auth/
  const { hostname, port } = new URL(options.url);
  await new Promise((resolve) => server.listen(port, hostname, resolve));
  return {
    auth,
    async stop() {
      server.close();
      server.closeAllConnections();
      await auth.options.database.end();
    },
  };
}

if (import.meta.main) {
  const { APP_URL: url = 'http://127.0.0.1:3000', BETTER_AUTH_SECRET: secret, DATABASE_URL: databaseUrl } = process.env;
  await startApp({ url, secret, databaseUrl });
  console.log(`the application is at ${url}`);
}
