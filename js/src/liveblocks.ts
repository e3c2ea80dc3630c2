// For a Liveblocks sync server of your own: who gets into a room, with what,
// and for how long. The close codes are chosen by what Liveblocks' clients do
// on each (docs/liveblocks.md).

import { accessTo, type Claims } from './claims.js';
import { VerifyError } from './errors.js';
import { matches, parsePattern } from './permissions.js';
import { splitName } from './scopes.js';
import type { Verifier } from './verifier.js';

/** What `room.createTicket` needs beside the protocol version. */
export interface Ticket {
  readonly id: string;
  readonly info: Readonly<Record<string, unknown>> | undefined;
  /** Never empty: the server takes an absent list for full access. */
  readonly scopes: string[];
}

/**
 * Whether a client may enter. Where not, complete the WebSocket upgrade and
 * close with `code` and `reason`: a refused upgrade is retried for ever.
 */
export type Admission =
  | { readonly ok: true; readonly ticket: Ticket; readonly claims: Claims }
  | { readonly ok: false; readonly code: number; readonly reason: string };

const notAllowed = 4001; // the client stops
const kicked = 4100; // the client signs in again after a growing pause
const tokenExpired = 4109; // the client signs in again at once, perhaps with the token that it still holds
const tryAgainLater = 1013; // the client comes back after 2 s, then 30 s

/**
 * Decides on a connection by its `tok` and `roomId` query parameters.
 *
 * A token that is expired, or not valid yet, closes 4100: with 4109 a client
 * that still holds it would come back with it, thousands of times a second, and
 * with 4001 a difference between two clocks would keep it out for good.
 */
export async function admit(verifier: Verifier, token: string | null, roomId: string | null): Promise<Admission> {
  if (token === null || roomId === null) return { ok: false, code: notAllowed, reason: 'No token or no room' };
  let claims: Claims;
  try {
    claims = await verifier.verify(token);
  } catch (error) {
    if (!(error instanceof VerifyError)) throw error;
    if (error.retryable) return { ok: false, code: tryAgainLater, reason: 'Cannot verify tokens now' };
    if (error.code === 'token_expired' || error.code === 'token_not_yet_valid') {
      return { ok: false, code: kicked, reason: 'The token is not valid at this time' };
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
 * signs in again and comes back. Returns a function that calls it off: call it
 * when the socket closes.
 *
 * Where an engine has a session for the socket, give an object whose `close`
 * ends that session: a closed WebSocket delivers messages until its peer has
 * answered. Call this once the session stands, since it may close at once.
 *
 * `leeway` is the verifier's, 30 s where absent. A socket lives as long as its
 * token would be let in again; closed sooner, a client whose clock is behind
 * would return with the same token over and over.
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
    // Longer than 2^31 ms a timer does not wait, and a sleeping machine's is late.
    if (left > 0) timer = setTimeout(check, Math.min(left, 2 ** 31 - 1));
    else socket.close(tokenExpired, 'Token expired');
  };
  check();
  return () => clearTimeout(timer);
}

const rank = { none: 0, read: 1, write: 2 };
const features = ['storage', 'comments', 'comments:public', 'comments:private', 'feeds'];

/**
 * The permission names that all patterns of a token come to for one room, by
 * the rules of Liveblocks' client: the strongest base, and of each feature the
 * level that the most specific pattern gives.
 *
 * The base is written `room:...`, because clients before 3.20 do not know
 * `*:...`; and only features that clients know are named, because one unknown
 * name stops a newer client.
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
