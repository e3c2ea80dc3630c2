import { makeAdapter } from '@livestore/adapter-node';
import { createStorePromise } from '@livestore/livestore';
import { makeWsSync } from '@livestore/sync-cf/client';
import { Effect, LogLevel } from 'effect';

import { events, schema, tables } from '../src/schema.ts';

type Backend = ReturnType<typeof makeWsSync>;
export type Todos = Awaited<ReturnType<typeof openTodos>>;

let devices = 0;

interface Options {
  storeId: string;
  backend: Backend;
  /** The constant `syncPayload`. */
  authToken?: string;
}

/** Opens a store in memory, as a separate device. */
export async function openTodos({ storeId, backend, authToken }: Options) {
  const store = await createStorePromise({
    adapter: makeAdapter({
      storage: { type: 'in-memory' },
      clientId: `device-${++devices}`,
      sync: { backend },
    }),
    schema,
    storeId,
    ...(authToken === undefined ? {} : { syncPayload: { authToken } }),
    disableDevtools: true,
    logLevel: LogLevel.None,
  });
  return todos(store);
}

export function todos(store: Awaited<ReturnType<typeof createStorePromise<typeof schema>>>) {
  const ids = () => store.query(tables.todos.orderBy('id', 'asc')).map(({ id }) => id);
  return {
    add: (id: string) => store.commit(events.todoAdded({ id, text: `do ${id}` })),
    ids,
    has: (...wanted: string[]) => wanted.every((id) => ids().includes(id)),
    connected: async () => (await Effect.runPromise(store.networkStatus)).isConnected,
    /** Whether the sync backend has everything committed here. LiveStore's public status ends at the client's leader thread. */
    async confirmed() {
      const { leader } = await store._dev.syncStates();
      return store.syncStatus().isSynced && leader.pending.length === 0;
    },
    pending: async () => (await store._dev.syncStates()).leader.pending.length,
    close: () => store.shutdownPromise(),
  };
}
