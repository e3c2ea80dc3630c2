import { makeWorker } from '@livestore/adapter-web/worker';
import { makeWsSync } from '@livestore/sync-cf/client';
import { withFreshToken, type TokenInCookie } from '@usher-auth/sdk/livestore-client';

import { schema } from './schema.ts';

const backend = withFreshToken(makeWsSync({ url: `${location.origin}/sync` }), async ({ storeId, signal }) => {
  const response = await fetch('/api/auth?mode=cookie', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ store: storeId }),
    signal: AbortSignal.any([signal, AbortSignal.timeout(10_000)]),
  });
  if (!response.ok) throw new Error(`usher answered ${response.status}`);
  return (await response.json()) as TokenInCookie;
});

makeWorker({ schema, sync: { backend } });
