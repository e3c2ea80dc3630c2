// The to-do list as a page. index.html is its HTML; livestore.cookie.worker.ts
// syncs it.
import { makePersistedAdapter } from '@livestore/adapter-web';
import { createStorePromise } from '@livestore/livestore';

import { events, schema, tables } from './schema.ts';

const store = await createStorePromise({
  adapter: makePersistedAdapter({
    worker: ({ name }) => new Worker('/livestore.cookie.worker.js', { name, type: 'module' }),
    sharedWorker: ({ name }) => new SharedWorker('/make-shared-worker.js', { name, type: 'module' }),
    storage: { type: 'opfs' },
  }),
  schema,
  storeId: 'acme_notes',
});

const form = document.querySelector('form')!;
form.addEventListener('submit', (event) => {
  event.preventDefault();
  store.commit(events.todoAdded({ id: crypto.randomUUID(), text: String(new FormData(form).get('text')) }));
  form.reset();
});
form.querySelector('button')!.disabled = false;

store.subscribe(tables.todos.orderBy('text', 'asc'), (todos) => {
  const items = todos.map(({ text }) => Object.assign(document.createElement('li'), { textContent: text }));
  document.querySelector('ul')!.replaceChildren(...items);
});
