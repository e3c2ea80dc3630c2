// A sync server with its own clock, in its own process: the engine and the client
// need different versions of @liveblocks/core, which cannot be loaded together.
import { createSyncServer } from '../sync.mjs';

const [config, start] = process.argv.slice(2);
let time = Number(start);
const server = createSyncServer({ ...JSON.parse(config), now: () => time });
server.listen(0, '127.0.0.1', () => process.send(server.address().port));

process.on('message', (next) => {
  time = next;
  process.send('set');
});
process.on('disconnect', () => process.exit());
