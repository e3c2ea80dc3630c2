import { makeWorker } from '@livestore/adapter-web/worker';
import { makeWsSync } from '@livestore/sync-cf/client';
import { withFreshToken } from '@usher-auth/sdk/livestore-client';

import { schema } from './schema.ts';

const backend = withFreshToken(makeWsSync({ url: 'wss://sync.example.com' }), async ({ storeId, signal }) => {
  const response = await fetch('https://auth.example.com/api/auth', {
    method: 'POST',
    credentials: 'include', // the user's session cookie
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ store: storeId }),
    signal: AbortSignal.any([signal, AbortSignal.timeout(10_000)]),
  });
  if (!response.ok) throw new Error(`usher answered ${response.status}`);
  const { token } = await response.json();
  return token;
});

makeWorker({ schema, sync: { backend } });
