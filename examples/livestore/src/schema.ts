import { Events, makeSchema, Schema, State } from '@livestore/livestore';

export const tables = {
  todos: State.SQLite.table({
    name: 'todos',
    columns: {
      id: State.SQLite.text({ primaryKey: true }),
      text: State.SQLite.text(),
      done: State.SQLite.boolean({ default: false }),
    },
  }),
};

export const events = {
  todoAdded: Events.synced({
    name: 'v1.TodoAdded',
    schema: Schema.Struct({ id: Schema.String, text: Schema.String }),
  }),
  todoDone: Events.synced({
    name: 'v1.TodoDone',
    schema: Schema.Struct({ id: Schema.String }),
  }),
};

const materializers = State.SQLite.materializers(events, {
  'v1.TodoAdded': ({ id, text }) => tables.todos.insert({ id, text }),
  'v1.TodoDone': ({ id }) => tables.todos.update({ done: true }).where({ id }),
});

export const schema = makeSchema({ events, state: State.SQLite.makeState({ tables, materializers }) });
