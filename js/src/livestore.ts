/**
 * Access to LiveStore's sync backend on Cloudflare Workers (`@livestore/sync-cf`
 * 0.4) with usher's tokens:
 *
 *     const { validatePayload, guard, ...hooks } = livestoreAuth(verifier);
 *     export class SyncBackendDO extends guard(makeDurableObject(hooks)) {}
 *     export default makeWorker({ syncBackendBinding: 'SYNC_BACKEND_DO', validatePayload });
 *
 * docs/livestore.md is the guide. This entry loads neither LiveStore nor Effect;
 * the client's half is the entry `livestore-client`.
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
  | 'cookie_duplicate'
  | 'origin_refused'
  | 'forbidden'
  | 'keys_unavailable';

/**
 * A refusal. LiveStore sends message and cause of what a hook throws to the
 * client, so the message is the code, and there never is a cause.
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
   * The cookie that may carry the token, and the exact origins whose pages may
   * use it; both or neither. usher's is `__Host-usher`, or `__Secure-usher`
   * where it is of a domain.
   */
  cookie?: { name: string; origins: readonly string[] } | undefined;
  /** Told of each refusal, with the {@link VerifyError} behind it if there is one: for the worker's own log. */
  onRefused?: ((code: LiveStoreAuthCode, storeId: string, cause?: VerifyError) => void) | undefined;
  /** The time in milliseconds; `Date.now` where absent. */
  now?: (() => number) | undefined;
}

/** What LiveStore says about a request; header names are in lower case. */
export interface SyncContext {
  readonly storeId: string;
  readonly payload?: unknown;
  readonly headers?: ReadonlyMap<string, string> | undefined;
}

/** The part of a `Request` that is read here. */
export interface SyncRequest {
  readonly url: string;
  readonly headers: { get(name: string): string | null };
}

/** Whom to disconnect: a user, or one session of a user. */
export type Holder = { sub: string; sid?: undefined } | { sid: string; sub?: undefined };

/** What {@link LiveStoreAuth.guard} adds to a Durable Object class. */
export interface GuardedObject {
  /** Closes what has expired. The guard owns the object's alarm. */
  alarm(): void;
  /**
   * Closes the sockets of a user or session with code 4003, and from then on
   * refuses at this store every token of theirs issued up to now. Resolves to
   * the number of sockets closed. To be called over the binding.
   */
  kick(holder: Holder): Promise<number>;
}

// TypeScript wants exactly this of the base of a mixin.
type ObjectClass = new (...args: any[]) => object;

/** Every function may be taken out of the object and handed on alone. */
export interface LiveStoreAuth {
  /** For `makeWorker` and `handleSyncRequest`: nobody connects without READ. */
  readonly validatePayload: (payload: unknown, context: SyncContext) => Promise<void>;
  /** For `makeDurableObject`: a push needs FULL. */
  readonly onPush: (message: unknown, context: SyncContext) => Promise<void>;
  /** For `makeDurableObject`: a pull needs READ. */
  readonly onPull: (message: unknown, context: SyncContext) => Promise<void>;
  /**
   * For `makeDurableObject`, which without it does not see headers, nor, over
   * HTTP in LiveStore 0.4, the payload of a push. It forwards the token alone.
   */
  readonly forwardHeaders: (request: SyncRequest) => Record<string, string>;
  /** For checks of your own in `onPush`: the claims of the caller's token, or a {@link LiveStoreAuthError}. */
  readonly authorize: (context: SyncContext, access: 'read' | 'full') => Promise<Claims>;
  /**
   * Extends the class that `makeDurableObject` returns. The object then admits
   * no socket without READ, closes each at its token's `exp` with code 4001,
   * and can {@link GuardedObject.kick}. Hooks alone do not protect a store:
   * LiveStore 0.4 sends every event to all sockets that ever asked for a pull,
   * refused or not, expired or not.
   */
  readonly guard: <Base extends ObjectClass>(base: Base) => Base & (new (...args: any[]) => GuardedObject);
}

/**
 * Makes LiveStore's hooks from a verifier. The token is looked for in the
 * Authorization header, then in the cookie, last in `payload.authToken`; the
 * first one found decides, good or bad. It must give its access to the store id
 * that LiveStore names. Its `exp` is exact, without the verifier's leeway: who
 * is let in after it would be disconnected at once, and come back for ever.
 */
export function livestoreAuth(verifier: Verifier, options: LiveStoreAuthOptions = {}): LiveStoreAuth {
  const { cookie, onRefused, now = Date.now } = options;
  if (cookie && (cookie.name === '' || cookie.origins.length === 0)) {
    // Browsers send cookies along with any page's WebSocket: without a list of
    // origins, every site could open the store.
    throw new TypeError('livestoreAuth: a cookie needs a name and at least one origin');
  }
  for (const origin of cookie?.origins ?? []) {
    // One that no browser sends would refuse everybody, and not say why.
    if (!isOrigin(origin)) throw new TypeError(`livestoreAuth: ${origin} is no origin as browsers send it: https://app.example.com`);
  }

  function findToken({ payload, headers }: Omit<SyncContext, 'storeId'>): string | undefined {
    const authorization = headers?.get('authorization');
    if (authorization !== undefined) {
      const token = /^Bearer ([^\s,]+)$/i.exec(authorization)?.[1];
      if (token === undefined) throw new LiveStoreAuthError('token_invalid');
      return token;
    }
    const values = cookie ? cookieValues(headers?.get('cookie') ?? '', cookie.name) : [];
    if (values.length > 1) throw new LiveStoreAuthError('cookie_duplicate');
    if (values.length === 1) {
      if (!cookie!.origins.includes(headers!.get('origin') ?? '')) throw new LiveStoreAuthError('origin_refused');
      return values[0];
    }
    const token = (payload as { authToken?: unknown } | null | undefined)?.authToken;
    return typeof token === 'string' ? token : undefined;
  }

  async function authorize(context: SyncContext, access: 'read' | 'full'): Promise<Claims> {
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
      /** Who was kicked, and when, in seconds; a copy of what is stored. */
      #kicks = new Map<string, number>();
      /** When the next token of an open socket expires; 0 while nobody has looked, as after hibernation. */
      #nextExpiry = 0;

      constructor(...args: any[]) {
        super(...args);
        const state = args[0] as ObjectState;
        this.#state = state;
        void state.blockConcurrencyWhile(async () => {
          this.#kicks = await state.storage.list({ prefix: kickPrefix });
        });
        // Overriding methods would do nothing: LiveStore assigns both to the instance.
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
            // One that was let in just when its holder was kicked.
            if (this.#kicks.size > 0) this.#closeKicked([socket]);
            // A closing socket still delivers what its peer sends.
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

      /** Alarms can be late, so each request and message looks at the time too, before LiveStore can send anything. */
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
        // Not awaited, so that no message overtakes another; the runtime holds
        // back what the object sends until the alarm is written.
        void this.#state.storage.setAlarm(time);
      }

      #openSockets(): SyncSocket[] {
        return this.#state.getWebSockets().filter((socket) => socket.readyState === open);
      }
    };
    return Guarded as unknown as Base & (new (...args: any[]) => GuardedObject);
  }

  /** The claims of the token that opened the socket; it was verified when it did. */
  function claimsOf(socket: SyncSocket): Partial<Claims> | undefined {
    try {
      const { payload, headers = {} } = readAttachment(socket);
      return decodeJwt(findToken({ payload, headers: new Map(Object.entries(headers)) }) ?? '');
    } catch {
      return undefined; // the socket counts as expired
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
    // As the header comes first, the token that opened a socket decides on all
    // that is sent over it, whatever token a message brings along. Cookies are
    // not forwarded as they are: LiveStore stores what is.
    forwardHeaders(request) {
      const token = findToken(contextOf(request));
      return token === undefined ? {} : { authorization: `Bearer ${token}` };
    },
  };
}

const open = 1; // WebSocket.OPEN

/** Seconds after which a kick is forgotten: longer than any token lives. */
const kickMemory = 24 * 3600;
const kickPrefix = 'usher:kick:';

function kickKey({ sub, sid }: Holder): string {
  if ((typeof sub === 'string') === (typeof sid === 'string')) throw new TypeError('kick: name one sub or one sid');
  return sub === undefined ? `${kickPrefix}sid:${sid}` : `${kickPrefix}sub:${sub}`;
}

function kickKeys({ sub, sid }: Partial<Claims>): string[] {
  return [...(sub === undefined ? [] : [kickKey({ sub })]), ...(sid === undefined ? [] : [kickKey({ sid })])];
}

/**
 * Closes a socket, and first takes it off LiveStore's list of receivers: until
 * the peer answers the close, LiveStore would go on to send to it, and the send
 * would throw and keep the event from the sockets behind it.
 */
function close(socket: SyncSocket, code: number, reason: LiveStoreAuthCode): void {
  try {
    socket.serializeAttachment(JSON.stringify({ ...readAttachment(socket), pullRequestIds: [] }));
  } catch {
    // Not one of LiveStore's, so not on its list.
  }
  socket.close(code, reason);
}

function readAttachment(socket: SyncSocket): Attachment {
  return JSON.parse(socket.deserializeAttachment() as string) as Attachment;
}

/** Reads a sync request as LiveStore's `matchSyncRequest` does. */
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

function cookieValues(header: string, name: string): string[] {
  return header
    .split(';')
    .map((pair) => pair.trim())
    .filter((pair) => pair.startsWith(`${name}=`))
    .map((pair) => pair.slice(name.length + 1));
}

/** What may be said to the bearer: no more than the verifier's own messages say. */
function publicCode({ code }: VerifyError): LiveStoreAuthCode {
  return code === 'token_expired' || code === 'forbidden' || code === 'keys_unavailable' ? code : 'token_invalid';
}

/** LiveStore's Durable Object, as far as it concerns the guard. */
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

/** What LiveStore 0.4 keeps with a socket, as JSON text. */
interface Attachment {
  payload?: unknown;
  headers?: Record<string, string>;
  pullRequestIds: string[];
}
