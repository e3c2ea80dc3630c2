// A to-do list in the terminal.
import { openStore, usherTokens } from './client.ts';
import { events, tables } from './schema.ts';

const [command = 'list', argument = ''] = process.argv.slice(2);
if (!['list', 'add', 'done', 'watch'].includes(command)) {
  console.error('usage: todo list | add <text> | done <id> | watch');
  process.exit(2);
}

const {
  USHER_URL = 'http://127.0.0.1:8080',
  SESSION_COOKIE = '',
  SYNC_URL = 'ws://127.0.0.1:8787',
  STORE = 'acme_notes',
  CLIENT = 'terminal',
  DATA_DIR = '.data/clients',
} = process.env;

const store = await openStore({
  storeId: STORE,
  syncUrl: SYNC_URL,
  getToken: usherTokens(USHER_URL, SESSION_COOKIE),
  clientId: CLIENT,
  directory: `${DATA_DIR}/${CLIENT}`,
});
const todos = tables.todos.orderBy('text', 'asc');

function print(): void {
  for (const { id, text, done } of store.query(todos)) console.log(`${done ? '[x]' : '[ ]'} ${id} ${text}`);
}

switch (command) {
  case 'add':
    store.commit(events.todoAdded({ id: crypto.randomUUID().slice(0, 8), text: argument }));
    break;
  case 'done':
    store.commit(events.todoDone({ id: argument }));
    break;
  case 'watch':
    store.subscribe(todos, () => {
      console.log('---');
      print();
    });
    await new Promise(() => {}); // until interrupted
}
print();
await synced();
await store.shutdownPromise();
process.exit(); // LiveStore 0.4 would keep reconnecting without access

/** Waits up to five seconds until all events are sent. The others are sent next time. */
async function synced(): Promise<void> {
  for (const end = Date.now() + 5000; Date.now() < end; await new Promise((resolve) => setTimeout(resolve, 50))) {
    // The public status ends at the client's own leader thread.
    const { leader } = await store._dev.syncStates();
    if (store.syncStatus().isSynced && leader.pending.length === 0) return;
  }
  console.error('some events are not sent yet');
}
