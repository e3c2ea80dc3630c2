import WebSocket from 'ws';

/**
 * A Liveblocks client on a page of usher's own origin, with a user's cookie, that
 * records its requests and sockets.
 */
export function recordingClient(createClient, { baseUrl, usher, user, authEndpoint = `${usher.url}/api/auth` }) {
  const answers = []; // usher's answers: {room, status, token?, partial?}
  const sockets = []; // {at, closed?: {code, reason}}
  const rooms = new Map();

  async function pageFetch(url, init) {
    if (url !== authEndpoint) return fetch(url, init);
    const headers = { ...init.headers, origin: usher.url, cookie: `${usher.cookieName}=${usher.sessions[user]}` };
    const response = await fetch(url, { ...init, headers });
    const { token, partial } = await response.clone().json();
    answers.push({ ...JSON.parse(init.body), status: response.status, token, partial });
    return response;
  }

  class RecordedSocket extends WebSocket {
    constructor(url) {
      super(url);
      const record = { at: performance.now() };
      sockets.push(record);
      this.on('close', (code, reason) => (record.closed = { code, reason: reason.toString() }));
    }
  }

  const client = createClient({ baseUrl, authEndpoint, polyfills: { fetch: pageFetch, WebSocket: RecordedSocket } });
  return {
    answers,
    sockets,
    enter(id, initialStorage = {}) {
      const { room, leave } = client.enterRoom(id, { initialPresence: {}, initialStorage });
      const entered = { room, leave };
      room.subscribe('error', ({ message }) => (entered.error = message));
      rooms.set(id, entered);
      return room;
    },
    state(id) {
      const { room, error } = rooms.get(id);
      return { status: room.getStatus(), self: room.getSelf(), error, answers };
    },
    leave() {
      for (const { leave } of rooms.values()) leave();
    },
  };
}
