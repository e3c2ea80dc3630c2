// Runs a module of the guide as a page: with a fetch that follows a browser's rules
// for cookies and CORS, and with the guide's hosts mapped to real ones.
import WebSocket from 'ws';

let { module, origin, hosts, cookie } = JSON.parse(process.argv[2]);
const node = { fetch };
const statuses = []; // of usher's answers

/** The real URL for a URL of the guide. */
function located(url) {
  const host = hosts[url.origin.replace(/^ws/, 'http')];
  if (!host) throw new TypeError(`the guide has no host ${url.origin}`);
  return new URL(url.pathname + url.search, url.protocol.startsWith('ws') ? host.replace('http', 'ws') : host);
}

globalThis.fetch = async (input, { credentials = 'same-origin', ...init } = {}) => {
  const url = new URL(input, origin);
  const own = url.origin === origin;
  const readable = ({ headers }) =>
    own ||
    (headers.get('access-control-allow-origin') === origin &&
      (credentials !== 'include' || headers.get('access-control-allow-credentials') === 'true'));
  if (!own) {
    const preflight = await node.fetch(located(url), {
      method: 'OPTIONS',
      headers: { origin, 'access-control-request-method': init.method, 'access-control-request-headers': 'content-type' },
    });
    const allowed = /content-type/i.test(preflight.headers.get('access-control-allow-headers'));
    if (!preflight.ok || !readable(preflight) || !allowed) {
      statuses.push('blocked');
      throw new TypeError('Failed to fetch');
    }
  }
  const headers = { ...init.headers, origin, 'sec-fetch-site': own ? 'same-origin' : 'same-site' };
  if (cookie && (own || credentials === 'include')) headers.cookie = cookie;
  const response = await node.fetch(located(url), { ...init, headers });
  if (!readable(response)) throw new TypeError('Failed to fetch');
  statuses.push(response.status);
  return response;
};
globalThis.WebSocket = class extends WebSocket {
  constructor(url) {
    super(located(new URL(url)));
  }
};
process.env.NODE_ENV = 'production'; // otherwise the client connects to its developer tools
globalThis.window = { fetch, addEventListener() {}, removeEventListener() {} };

const { client } = await import(module);
const rooms = new Map();
const errors = [];

const calls = {
  enter(id) {
    const { room } = client.enterRoom(id, { initialPresence: {} });
    room.subscribe('error', ({ message }) => errors.push(message));
    rooms.set(id, room);
  },
  signIn(value) {
    cookie = value;
    for (const room of rooms.values()) room.reconnect();
  },
  state: (id) => ({ status: rooms.get(id).getStatus(), self: rooms.get(id).getSelf(), statuses, errors }),
};

process.on('message', ({ name, args }) => process.send(calls[name](...args) ?? null));
process.on('disconnect', () => process.exit());
process.send('ready');
