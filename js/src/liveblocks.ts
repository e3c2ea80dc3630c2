// For your own Liveblocks sync server: who may enter a room, with which scopes,
// and for how long. The close codes follow from what Liveblocks' clients do on
// each (docs/liveblocks.md).

import { accessTo, type Claims } from './claims.js';
import { VerifyError } from './errors.js';
import { matches, parsePattern } from './permissions.js';
import { splitName } from './scopes.js';
import type { Verifier } from './verifier.js';

/** What `room.createTicket` needs besides the protocol version. */
export interface Ticket {
  readonly id: string;
  readonly info: Readonly<Record<string, unknown>> | undefined;
  /** Never empty: the server gives full access without a list. */
  readonly scopes: string[];
}

/**
 * Whether a client may enter. If not, complete the WebSocket upgrade and close
 * with `code` and `reason`: a client never stops retrying a refused upgrade.
 */
export type Admission =
  | { readonly ok: true; readonly ticket: Ticket; readonly claims: Claims }
  | { readonly ok: false; readonly code: number; readonly reason: string };

const notAllowed = 4001; // the client stops
const kicked = 4100; // the client asks for a token after a growing pause
const tokenExpired = 4109; // the client reconnects immediately, maybe with the token that it still holds
const tryAgainLater = 1013; // the client reconnects after 2 s, then 30 s

/**
 * Decides on a connection by its `tok` and `roomId` query parameters.
 *
 * A token that is expired, or not yet valid, closes with 4100. With 4109, a
 * client that still holds it would reconnect thousands of times a second; with
 * 4001, a clock difference would keep the client out for good.
 */
export async function admit(verifier: Verifier, token: string | null, roomId: string | null): Promise<Admission> {
  if (token === null || roomId === null) return { ok: false, code: notAllowed, reason: 'No token or no room' };
  let claims: Claims;
  try {
    claims = await verifier.verify(token);
  } catch (error) {
    if (!(error instanceof VerifyError)) throw error;
    if (error.retryable) return { ok: false, code: tryAgainLater, reason: 'Cannot verify tokens at the moment' };
    if (error.code === 'token_expired' || error.code === 'token_not_yet_valid') {
      return { ok: false, code: kicked, reason: 'The token is expired or not yet valid' };
    }
    return { ok: false, code: notAllowed, reason: 'Invalid token' };
  }
  if (claims.uid === undefined || accessTo(claims, { room: roomId }) === 'none') {
    return { ok: false, code: notAllowed, reason: 'You have no access to this room' };
  }
  return { ok: true, ticket: { id: claims.uid, info: claims.ui, scopes: scopesFor(claims, roomId) }, claims };
}

/**
 * Closes an open socket with 4109 when its token expires, so that the client
 * gets a new token and reconnects. Returns a function that cancels this: call it
 * when the socket closes.
 *
 * If your engine has a session for the socket, pass an object whose `close` ends
 * that session: a closed WebSocket still delivers messages until its peer has
 * answered. Call this after the session has started, since it may close it
 * immediately.
 *
 * `leeway` is that of the verifier, in seconds (default: 30). The socket stays
 * open as long as its token would be accepted again. If it closed earlier, a
 * client whose clock is behind would reconnect with the same token repeatedly.
 */
export function closeAtExpiry(
  socket: { close(code: number, reason: string): void },
  claims: Pick<Claims, 'exp'>,
  { leeway = 30, now = Date.now }: { leeway?: number | undefined; now?: (() => number) | undefined } = {},
): () => void {
  const end = (claims.exp + leeway) * 1000;
  let timer: ReturnType<typeof setTimeout>;
  const check = () => {
    const left = end - now();
    // A timer waits at most 2^31 ms, and is late after the machine slept.
    if (left > 0) timer = setTimeout(check, Math.min(left, 2 ** 31 - 1));
    else socket.close(tokenExpired, 'Token expired');
  };
  check();
  return () => clearTimeout(timer);
}

const rank = { none: 0, read: 1, write: 2 };
const features = ['storage', 'comments', 'comments:public', 'comments:private', 'feeds'];

/**
 * The permission names that a token gives for one room, by the rules of
 * Liveblocks' client: the strongest base, and for each feature the level of the
 * most specific pattern.
 *
 * The base is written `room:...`, because clients before 3.20 do not know
 * `*:...`. Only known features are named, because newer clients stop at an
 * unknown name.
 */
function scopesFor({ perms = {} }: Claims, roomId: string): string[] {
  let write = false;
  const found = new Map<string, { level: keyof typeof rank; specificity: number }>();
  for (const [text, names] of Object.entries(perms)) {
    const pattern = parsePattern(text);
    if (!pattern || !matches(pattern, roomId)) continue;
    const specificity = pattern.literal.length;
    for (const name of names) {
      write ||= name === '*:write' || name === 'room:write';
      const { feature, level } = splitName(name);
      if (!features.includes(feature) || !isLevel(level)) continue;
      const before = found.get(feature);
      if (
        !before ||
        specificity > before.specificity ||
        (specificity === before.specificity && rank[level] > rank[before.level])
      ) {
        found.set(feature, { level, specificity });
      }
    }
  }
  const base = write ? ['room:write'] : ['room:read', 'room:presence:write'];
  return [...base, ...[...found].map(([feature, { level }]) => `${feature}:${level}`)];
}

function isLevel(text: string): text is keyof typeof rank {
  return Object.hasOwn(rank, text);
}
