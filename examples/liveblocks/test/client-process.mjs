// One version of the client in its own process, called over IPC.
import { recordingClient } from './client.mjs';

const [version, config] = process.argv.slice(2);
const { usher, baseUrl } = JSON.parse(config);
const { createClient } = await import(version);
const clients = new Map();

const calls = {
  enter(user, room) {
    if (!clients.has(user)) clients.set(user, recordingClient(createClient, { baseUrl, usher, user }));
    clients.get(user).enter(room);
  },
  /** The state of a room, and the requests of the user's client to usher so far. */
  state: (user, room) => clients.get(user).state(room),
};

process.on('message', ({ name, args }) => process.send(calls[name](...args) ?? null));
process.on('disconnect', () => process.exit());
process.send('ready');
