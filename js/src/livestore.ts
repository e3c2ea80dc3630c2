/**
 * Protects LiveStore's sync backend on Cloudflare Workers (`@livestore/sync-cf`
 * 0.4) with usher's tokens:
 *
 *     const { validatePayload, guard, ...hooks } = livestoreAuth(verifier);
 *     export class SyncBackendDO extends guard(makeDurableObject(hooks)) {}
 *     export default makeWorker({ syncBackendBinding: 'SYNC_BACKEND_DO', validatePayload });
 *
 * See docs/livestore.md. This entry imports neither LiveStore nor Effect. The
 * entry for clients is `livestore-client`.
 */
import { decodeJwt } from 'jose';

import type { Claims } from './claims.js';
import { VerifyError } from './errors.js';
import { closeCode } from './livestore-close.js';
import type { Verifier } from './verifier.js';

export { closeCode };

/** Why a request was refused. A code never changes its meaning. */
export type LiveStoreAuthCode =
  | 'token_missing'
  | 'token_invalid'
  | 'token_expired'
  | 'token_revoked'
  | 'duplicate_cookie'
  | 'origin_not_allowed'
  | 'forbidden'
  | 'keys_unavailable';

/**
 * A refusal. LiveStore sends the message and cause of a hook's error to the
 * client, so the message is the code, and there is never a cause.
 */
export class LiveStoreAuthError extends Error {
  override readonly name = 'LiveStoreAuthError';
  readonly code: LiveStoreAuthCode;

  constructor(code: LiveStoreAuthCode) {
    super(code);
    this.code = code;
  }
}

export interface LiveStoreAuthOptions {
  /**
   * The cookie that holds the token, and the exact origins of the pages that may
   * use it (default: no cookie is read). usher's cookie is `__Host-usher`, or
   * `__Secure-usher` if it is shared by a domain.
   */
  cookie?: { name: string; origins: readonly string[] } | undefined;
  /** Called for each refusal, with its {@link VerifyError} if there is one, to log it. */
  onRefused?: ((code: LiveStoreAuthCode, storeId: string, cause?: VerifyError) => void) | undefined;
  /** The time in milliseconds (default: `Date.now`). */
  now?: (() => number) | undefined;
}

/** LiveStore's description of a request. Header names are in lower case. */
export interface SyncContext {
  readonly storeId: string;
  readonly payload?: unknown;
  readonly headers?: ReadonlyMap<string, string> | undefined;
}

/** The part of a `Request` that is read. */
export interface SyncRequest {
  readonly url: string;
  readonly headers: { get(name: string): string | null };
}

/** A user, or one session of a user. */
export type Holder = { sub: string; sid?: undefined } | { sid: string; sub?: undefined };

/** What {@link LiveStoreAuth.guard} adds to a Durable Object class. */
export interface GuardedObject {
  /** Closes sockets whose tokens have expired. The guard uses the object's alarm. */
  alarm(): void;
  /**
   * Closes the sockets of a user or session with code 4003, and from now on
   * refuses their tokens issued until now, for this store. Resolves to the number
   * of closed sockets. Call it over the binding.
   */
  kick(holder: Holder): Promise<number>;
}

// TypeScript requires this type for the base of a mixin.
type ObjectClass = new (...args: any[]) => object;

/** You may use each function without the object, for example after destructuring. */
export interface LiveStoreAuth {
  /** For `makeWorker` and `handleSyncRequest`: connecting requires READ. */
  readonly validatePayload: (payload: unknown, context: SyncContext) => Promise<void>;
  /** For `makeDurableObject`: a push requires FULL. */
  readonly onPush: (message: unknown, context: SyncContext) => Promise<void>;
  /** For `makeDurableObject`: a pull requires READ. */
  readonly onPull: (message: unknown, context: SyncContext) => Promise<void>;
  /**
   * For `makeDurableObject`, which otherwise sees no headers and, over HTTP in
   * LiveStore 0.4, no payload of a push. It forwards only the token.
   */
  readonly forwardHeaders: (request: SyncRequest) => Record<string, string>;
  /** For your own checks in `onPush`: resolves to the claims of the token, or rejects with a {@link LiveStoreAuthError}. */
  readonly authorize: (context: SyncContext, access: 'read' | 'full') => Promise<Claims>;
  /**
   * Extends the class that `makeDurableObject` returns. The object then accepts
   * only sockets with READ, closes each at its token's `exp` with code 4001, and
   * has {@link GuardedObject.kick}. Hooks alone do not protect a store: LiveStore
   * 0.4 sends every event to every socket that ever requested a pull, even if the
   * pull was refused or the token has expired.
   */
  readonly guard: <Base extends ObjectClass>(base: Base) => Base & (new (...args: any[]) => GuardedObject);
}

/**
 * Creates LiveStore's hooks from a verifier. The token is taken from the
 * Authorization header, else from the cookie, else from `payload.authToken`. Only
 * the first one found counts, even if it is invalid. It must give access to the
 * store id of the request. `exp` is exact, without the verifier's leeway: a client
 * that connects later would be disconnected immediately, again and again.
 */
export function livestoreAuth(verifier: Verifier, options: LiveStoreAuthOptions = {}): LiveStoreAuth {
  const { cookie, onRefused, now = Date.now } = options;
  if (cookie && (cookie.name === '' || cookie.origins.length === 0)) {
    // Browsers send cookies with the WebSockets of any page: without a list of
    // origins, every site could open the store.
    throw new TypeError('livestoreAuth: cookie needs a name and at least one origin');
  }
  for (const origin of cookie?.origins ?? []) {
    // An origin that no browser sends would refuse everyone without a reason.
    if (!isOrigin(origin)) throw new TypeError(`livestoreAuth: ${origin} is not an origin. Write it as browsers send it, like https://app.example.com`);
  }

  function findToken({ payload, headers }: Omit<SyncContext, 'storeId'>): string | undefined {
    const authorization = headers?.get('authorization');
    if (authorization !== undefined) {
      const token = /^Bearer ([^\s,]+)$/i.exec(authorization)?.[1];
      if (token === undefined) throw new LiveStoreAuthError('token_invalid');
      return token;
    }
    const values = cookie ? cookieValues(headers?.get('cookie') ?? '', cookie.name) : [];
    if (values.length > 1) throw new LiveStoreAuthError('duplicate_cookie');
    if (values.length === 1) {
      if (!cookie!.origins.includes(headers!.get('origin') ?? '')) throw new LiveStoreAuthError('origin_not_allowed');
      return values[0];
    }
    const token = (payload as { authToken?: unknown } | null | undefined)?.authToken;
    return typeof token === 'string' ? token : undefined;
  }

  async function authorize(context: SyncContext, access: 'read' | 'full'): Promise<Claims> {
    // LiveStore 0.3 passes no context. Without the store id, a token of any
    // store would do.
    if (typeof (context as SyncContext | undefined)?.storeId !== 'string') {
      throw new TypeError('livestoreAuth: LiveStore gave no store id. Use LiveStore 0.4 or newer');
    }
    try {
      const token = findToken(context);
      if (!token) throw new LiveStoreAuthError('token_missing');
      const claims = await verifier.authorize(token, { store: context.storeId, access });
      if (now() >= claims.exp * 1000) throw new LiveStoreAuthError('token_expired');
      return claims;
    } catch (error) {
      if (error instanceof VerifyError) throw refuse(publicCode(error), context.storeId, error);
      if (error instanceof LiveStoreAuthError) throw refuse(error.code, context.storeId);
      throw error;
    }
  }

  function refuse(code: LiveStoreAuthCode, storeId: string, cause?: VerifyError): LiveStoreAuthError {
    onRefused?.(code, storeId, cause);
    return new LiveStoreAuthError(code);
  }

  function guard<Base extends ObjectClass>(base: Base) {
    const Guarded = class extends (base as new (...args: any[]) => SyncObject) {
      readonly #state: ObjectState;
      /** Users and sessions that were kicked, and when, in seconds; a copy of the stored values. */
      #kicks = new Map<string, number>();
      /** When the next token of an open socket expires; 0 if unknown, as after hibernation. */
      #nextExpiry = 0;

      constructor(...args: any[]) {
        super(...args);
        const state = args[0] as ObjectState;
        this.#state = state;
        void state.blockConcurrencyWhile(async () => {
          this.#kicks = await state.storage.list({ prefix: kickPrefix });
        });
        // Overriding the methods has no effect: LiveStore assigns both to the instance.
        const { fetch, webSocketMessage } = this;
        this.fetch = async (request) => {
          this.#closeDue();
          const context = contextOf(request);
          let claims: Claims;
          try {
            claims = await authorize(context, 'read');
            if (this.#isKicked(claims)) throw refuse('token_revoked', context.storeId);
          } catch (error) {
            if (!(error instanceof LiveStoreAuthError)) throw error;
            return new Response(error.code, { status: error.code === 'keys_unavailable' ? 503 : 403 });
          }
          const response = await fetch.call(this, request);
          if (response.status === 101) this.#wakeAt(claims.exp * 1000);
          return response;
        };
        if (webSocketMessage) {
          this.webSocketMessage = (socket, message) => {
            this.#closeDue();
            // The socket may have been accepted while its user was being kicked.
            if (this.#kicks.size > 0) this.#closeKicked([socket]);
            // A closing socket still delivers its peer's messages.
            if (socket.readyState === open) return webSocketMessage.call(this, socket, message);
          };
        }
      }

      alarm(): void {
        this.#closeExpired();
      }

      async kick(holder: Holder): Promise<number> {
        const key = kickKey(holder);
        const time = Math.floor(now() / 1000);
        this.#kicks.set(key, time);
        const closed = this.#closeKicked(this.#openSockets());
        await this.#state.storage.put(key, time);
        for (const [old, since] of this.#kicks) {
          if (since >= time - kickMemory) continue;
          this.#kicks.delete(old);
          await this.#state.storage.delete(old);
        }
        return closed;
      }

      #isKicked(claims: Partial<Claims>): boolean {
        return kickKeys(claims).some((key) => claims.iat! <= (this.#kicks.get(key) ?? -1));
      }

      #closeKicked(sockets: SyncSocket[]): number {
        const kicked = sockets.filter((socket) => this.#isKicked(claimsOf(socket) ?? {}));
        for (const socket of kicked) close(socket, closeCode.revoked, 'token_revoked');
        return kicked.length;
      }

      /** Alarms can be late, so each request and message checks the time too, before LiveStore can send anything. */
      #closeDue(): void {
        if (now() >= this.#nextExpiry) this.#closeExpired();
      }

      #closeExpired(): void {
        this.#nextExpiry = Infinity;
        for (const socket of this.#openSockets()) {
          const expiry = (claimsOf(socket)?.exp ?? 0) * 1000;
          if (now() < expiry) this.#wakeAt(expiry);
          else close(socket, closeCode.expired, 'token_expired');
        }
      }

      #wakeAt(time: number): void {
        if (time >= this.#nextExpiry) return;
        this.#nextExpiry = time;
        // Not awaited, to keep messages in order. The runtime delays what the
        // object sends until the alarm is written.
        void this.#state.storage.setAlarm(time);
      }

      #openSockets(): SyncSocket[] {
        return this.#state.getWebSockets().filter((socket) => socket.readyState === open);
      }
    };
    return Guarded as unknown as Base & (new (...args: any[]) => GuardedObject);
  }

  /** The claims of the token that opened the socket, which was verified then. */
  function claimsOf(socket: SyncSocket): Partial<Claims> | undefined {
    try {
      const { payload, headers = {} } = readAttachment(socket);
      return decodeJwt(findToken({ payload, headers: new Map(Object.entries(headers)) }) ?? '');
    } catch {
      return undefined; // treated as expired
    }
  }

  return {
    authorize,
    guard,
    async validatePayload(payload, context) {
      await authorize({ ...context, payload }, 'read');
    },
    async onPush(_message, context) {
      await authorize(context, 'full');
    },
    async onPull(_message, context) {
      await authorize(context, 'read');
    },
    // The header comes first, so the token that opened a socket decides about
    // all its messages, even if a message holds another token. Cookies are not
    // forwarded, because LiveStore stores forwarded headers.
    forwardHeaders(request) {
      const token = findToken(contextOf(request));
      return token === undefined ? {} : { authorization: `Bearer ${token}` };
    },
  };
}

const open = 1; // WebSocket.OPEN

/** Seconds after which a kick is deleted: longer than the lifetime of any token. */
const kickMemory = 24 * 3600;
const kickPrefix = 'usher:kick:';

function kickKey({ sub, sid }: Holder): string {
  if ((typeof sub === 'string') === (typeof sid === 'string')) throw new TypeError('kick: name either a sub or a sid');
  return sub === undefined ? `${kickPrefix}sid:${sid}` : `${kickPrefix}sub:${sub}`;
}

function kickKeys({ sub, sid }: Partial<Claims>): string[] {
  return [...(sub === undefined ? [] : [kickKey({ sub })]), ...(sid === undefined ? [] : [kickKey({ sid })])];
}

/**
 * Removes a socket from LiveStore's list of receivers, and closes it. Otherwise,
 * until the peer answers the close, LiveStore would keep sending to it, and the
 * failing send would keep the event from the sockets after it.
 */
function close(socket: SyncSocket, code: number, reason: LiveStoreAuthCode): void {
  try {
    socket.serializeAttachment(JSON.stringify({ ...readAttachment(socket), pullRequestIds: [] }));
  } catch {
    // Not LiveStore's socket, so not on its list.
  }
  socket.close(code, reason);
}

function readAttachment(socket: SyncSocket): Attachment {
  return JSON.parse(socket.deserializeAttachment() as string) as Attachment;
}

/** Reads a sync request like LiveStore's `matchSyncRequest`. */
function contextOf(request: SyncRequest): SyncContext {
  const params = new URL(request.url).searchParams;
  const headers = new Map<string, string>();
  for (const name of ['authorization', 'cookie', 'origin']) {
    const value = request.headers.get(name);
    if (value !== null) headers.set(name, value);
  }
  const payload = params.get('payload');
  return {
    storeId: params.get('storeId') ?? '',
    payload: payload === null ? undefined : JSON.parse(decodeURIComponent(payload)),
    headers,
  };
}

function isOrigin(text: string): boolean {
  try {
    return new URL(text).origin === text;
  } catch {
    return false;
  }
}

/** The different values of the cookies with a name: equal ones are no ambiguity. */
function cookieValues(header: string, name: string): string[] {
  const pairs = header.split(';').map((pair) => pair.trim());
  const values = pairs.filter((pair) => pair.startsWith(`${name}=`)).map((pair) => pair.slice(name.length + 1));
  return [...new Set(values)];
}

/** The code for the client, which says no more than the verifier's messages. */
function publicCode({ code }: VerifyError): LiveStoreAuthCode {
  return code === 'token_expired' || code === 'forbidden' || code === 'keys_unavailable' ? code : 'token_invalid';
}

/** The parts of LiveStore's Durable Object that the guard uses. */
interface SyncObject {
  fetch(request: SyncRequest): Promise<Response>;
  webSocketMessage?(socket: SyncSocket, message: unknown): void | Promise<void>;
}

interface ObjectState {
  blockConcurrencyWhile(load: () => Promise<void>): Promise<void>;
  getWebSockets(): SyncSocket[];
  storage: {
    list(options: { prefix: string }): Promise<Map<string, number>>;
    put(key: string, time: number): Promise<void>;
    delete(key: string): Promise<boolean>;
    setAlarm(time: number): Promise<void>;
  };
}

interface SyncSocket {
  readonly readyState: number;
  serializeAttachment(attachment: unknown): void;
  deserializeAttachment(): unknown;
  close(code: number, reason: string): void;
}

/** What LiveStore 0.4 stores with a socket, as JSON text. */
interface Attachment {
  payload?: unknown;
  headers?: Record<string, string>;
  pullRequestIds: string[];
}
