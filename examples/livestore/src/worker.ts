import { env } from 'cloudflare:workers';

import { makeDurableObject, makeWorker } from '@livestore/sync-cf/cf-worker';
import { createVerifier } from '@usher-auth/sdk';
import { livestoreAuth } from '@usher-auth/sdk/livestore';

const verifier = createVerifier({
  issuer: env.USHER_ISSUER,
  audience: 'livestore',
  jwks: env.USHER_JWKS_URL,
});

const { validatePayload, onPush, onPull, forwardHeaders, guard } = livestoreAuth(verifier, {
  onRefused: (code, storeId, cause) => console.warn('refused', code, storeId, cause?.code),
});

export class SyncBackendDO extends guard(makeDurableObject({ onPush, onPull, forwardHeaders })) {}

export default makeWorker({ syncBackendBinding: 'SYNC_BACKEND_DO', validatePayload });

// For operators only, on a separate socket: POST {"store": "...", "sub": "..."}
// disconnects a user who has lost access.
export const operators = {
  async fetch(request: Request): Promise<Response> {
    const { store, sub } = await request.json<{ store: string; sub: string }>();
    const object = env.SYNC_BACKEND_DO.get(env.SYNC_BACKEND_DO.idFromName(store));
    return Response.json({ closed: await object.kick({ sub }) });
  },
};

declare global {
  namespace Cloudflare {
    interface Env {
      USHER_ISSUER: string;
      USHER_JWKS_URL: string;
      SYNC_BACKEND_DO: DurableObjectNamespace<SyncBackendDO & Rpc.DurableObjectBranded>;
    }
  }
}
