import { makeAdapter } from '@livestore/adapter-node';
import { createStorePromise } from '@livestore/livestore';
import { makeWsSync } from '@livestore/sync-cf/client';
import { withFreshToken, type GetToken } from '@usher-auth/sdk/livestore-client';
import { LogLevel } from 'effect';

import { schema } from './schema.ts';

interface StoreConfig {
  storeId: string;
  /** The URL of the sync backend, ws: or wss:. */
  syncUrl: string;
  getToken: GetToken;
  /** Identifies this device and its folder, which keeps unsent events across restarts. */
  clientId: string;
  directory: string;
}

export function openStore({ storeId, syncUrl, getToken, clientId, directory }: StoreConfig) {
  const backend = withFreshToken(makeWsSync({ url: syncUrl }), getToken, {
    onError: (error) => console.error(`no token, working offline: ${error}`),
  });
  return createStorePromise({
    adapter: makeAdapter({
      storage: { type: 'fs', baseDirectory: directory },
      clientId,
      // Waits up to two seconds for events of other clients.
      sync: { backend, initialSyncOptions: { _tag: 'Blocking', timeout: 2000 } },
    }),
    schema,
    storeId,
    disableDevtools: true,
    logLevel: LogLevel.None,
  });
}

/** Gets tokens from usher with a user's session cookie, given as `name=value`. */
export function usherTokens(usherUrl: string, cookie: string): GetToken {
  return async ({ storeId, signal }) => {
    const response = await fetch(new URL('/api/auth', usherUrl), {
      method: 'POST',
      headers: { 'content-type': 'application/json', origin: new URL(usherUrl).origin, cookie },
      body: JSON.stringify({ store: storeId }),
      signal: AbortSignal.any([signal, AbortSignal.timeout(10_000)]),
    });
    const answer = await response.json();
    if (!response.ok) throw new Error(`usher answered ${response.status}: ${answer.reason}`);
    return answer.token;
  };
}
