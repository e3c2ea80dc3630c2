// An issuer whose keys a worker can fetch, for tokens that a real usher refuses
// to issue.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

import { createTestIssuer } from '@usher-auth/sdk/testing';

export type Issuer = Awaited<ReturnType<typeof startIssuer>>;

export async function startIssuer() {
  let fetches = 0;
  const server = createServer((_request, response) => {
    fetches++;
    response.setHeader('content-type', 'application/jwk-set+json');
    response.end(JSON.stringify(issuer.jwks));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const issuer = await createTestIssuer({ issuer: url, audience: 'livestore', now: Date.now });
  return {
    issuer: url,
    jwksUrl: `${url}/.well-known/jwks.json`,
    issue: issuer.issue,
    rotate: issuer.rotate,
    fetches: () => fetches,
    close: () => new Promise((resolve) => server.close(resolve).closeAllConnections()),
  };
}
