import { createServer } from 'node:http';

import { DefaultMap, ProtocolVersion, Room } from '@liveblocks/server';
import { createVerifier } from '@usher-auth/sdk';
import { admit, closeAtExpiry } from '@usher-auth/sdk/liveblocks';
import { WebSocketServer } from 'ws';

const versions = new Map([
  ['/v7', ProtocolVersion.V7], // clients from 1.2
  ['/v8', ProtocolVersion.V8], // clients from 3.14
]);

/**
 * Returns an HTTP server that runs Liveblocks rooms for users with usher's tokens.
 * `config` is passed to createVerifier. Rooms are in memory and lost when the server
 * stops: to keep them, give Room a storage driver.
 */
export function createSyncServer(config) {
  const verifier = createVerifier(config);
  const rooms = new DefaultMap((id) => new Room({ id }, { hooks: { isClientMsgAllowed } }));
  const server = createServer((_, response) => response.writeHead(404).end());
  const sockets = new WebSocketServer({ server, maxPayload: 2 ** 20 });

  // Always complete the upgrade, and refuse with a close code: a client retries a
  // refused upgrade endlessly, with the same token.
  sockets.on('connection', (socket, request) => {
    socket.on('error', () => {}); // a close event follows
    enter(socket, request).catch((error) => fail(socket, error));
  });

  async function enter(socket, request) {
    const [path, query] = request.url.split('?', 2);
    const parameters = new URLSearchParams(query);
    const roomId = parameters.get('roomId');
    const version = versions.get(path);
    if (version === undefined) return socket.close(4001, 'Unknown protocol version');
    const admission = await admit(verifier, parameters.get('tok'), roomId);
    if (!admission.ok) return socket.close(admission.code, admission.reason);
    if (socket.readyState !== socket.OPEN) return; // it was closed in the meantime

    const room = rooms.getOrCreate(roomId);
    const ticket = room.createTicket({ ...admission.ticket, version });
    room.startBrowserSession(ticket, {
      send(data) {
        if (socket.readyState !== socket.OPEN) return 0;
        socket.send(data);
        return data.length ?? data.byteLength;
      },
      // A close frame holds 123 bytes, and a UTF-16 code unit needs up to three.
      close: (code, reason = '') => socket.close(code, reason.slice(0, 41)),
    });
    // Closing the socket is not enough: a client that does not answer the close frame
    // can still send messages.
    const leave = (code, reason) => room.endBrowserSession(ticket.sessionKey, code, reason);
    const cancel = closeAtExpiry({ close: leave }, admission.claims, config);
    socket.on('message', (data) => {
      room.handleData(ticket.sessionKey, data.toString()).catch((error) => fail(socket, error));
    });
    socket.on('close', (code, reason) => {
      cancel();
      leave(code, reason.toString());
    });
  }

  return server;
}

function fail(socket, error) {
  console.error(error);
  socket.close(1011); // the client reconnects after a pause
}

// Message numbers of Liveblocks' protocol, with the feature that each reads or writes.
const presence = new Set([100, 103]); // presence and broadcast events: everyone in the room may send them
const reads = new Map([[200, 'storage'], [300, 'storage'], [510, 'feeds'], [511, 'feeds']]);
const writes = new Map([
  [201, 'storage'],
  [301, 'storage'], // Yjs
  ...[512, 513, 514, 515, 516, 517].map((type) => [type, 'feeds']),
]);

/** Without this hook, the engine allows everything. This hook refuses unknown messages. */
function isClientMsgAllowed({ type }, { scopes }) {
  const base = scopes.includes('room:write') ? 'write' : 'read';
  const level = (feature) => scopes.find((scope) => scope.startsWith(`${feature}:`))?.split(':')[1] ?? base;
  const allowed =
    presence.has(type) ||
    (reads.has(type) && level(reads.get(type)) !== 'none') ||
    (writes.has(type) && level(writes.get(type)) === 'write');
  return allowed ? { allowed } : { allowed, reason: 'Your token does not allow this' };
}
