// A shared note in the terminal: node client.mjs <ada|grace|mallory> [room]
// prints joins, leaves and new lines. Lines that you type are added.
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout } from 'node:timers/promises';

import { createClient, LiveList } from '@liveblocks/client';
import WebSocket from 'ws';

const [user = 'ada', roomId = 'acme:design:1'] = process.argv.slice(2);
const { USHER_DEV = '../../.usher/dev.json', SYNC_URL = 'http://127.0.0.1:1234' } = process.env;

// A browser sends cookie and origin itself; usher dev writes them to a file.
const usher = JSON.parse(readFileSync(new URL(USHER_DEV, import.meta.url)));
const cookie = `${usher.cookieName}=${usher.sessions[user]}`;
const signedIn = (url, init) => fetch(url, { ...init, headers: { ...init.headers, cookie, origin: usher.url } });

const client = createClient({
  baseUrl: SYNC_URL,
  authEndpoint: `${usher.url}/api/auth`,
  polyfills: { fetch: signedIn, WebSocket },
});
const { room, leave } = client.enterRoom(roomId, { initialStorage: { lines: new LiveList([]) } });

room.subscribe('error', ({ message }) => {
  console.error(`! ${message}`);
  process.exit(1);
});
room.subscribe('others', (_, { type, user: other }) => {
  if (type === 'enter' || type === 'leave') console.log(`* ${other.info?.name ?? other.id}: ${type}`);
});

const { root } = await room.getStorage();
console.log(`${roomId}: ${room.getSelf().canWrite ? 'FULL' : 'READ'}`);
for (const line of root.get('lines') ?? []) console.log(`  ${line}`);
room.subscribe(
  root,
  (updates) => {
    for (const change of updates.filter(({ type }) => type === 'LiveList').flatMap(({ updates }) => updates)) {
      if (change.type === 'insert') console.log(`  ${change.item}`);
    }
  },
  { isDeep: true },
);

for await (const line of createInterface({ input: process.stdin })) {
  if (room.getSelf()?.canWrite) root.get('lines').push(`${user}: ${line}`);
  else console.log('! not written: this requires FULL');
}
while (client.getSyncStatus() === 'synchronizing') await setTimeout(20);
leave();
