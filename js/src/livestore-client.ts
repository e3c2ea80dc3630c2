/**
 * Keeps a LiveStore client's token fresh. LiveStore reads `syncPayload` only
 * once, when the store is created, and uses it for all later connections. This
 * wrapper gets a new token in time and moves the open store to a connection with
 * the new token:
 *
 *     const backend = withFreshToken(makeWsSync({ url }), getToken);
 *
 * In a browser, use it in LiveStore's worker file. This entry imports no LiveStore
 * package, only `effect` 3, which LiveStore 0.4 uses.
 */
import { Clock, Data, Deferred, Effect, ExecutionStrategy, Exit, Schedule, Scope, Stream, SubscriptionRef } from 'effect';

import { closeCode } from './livestore-close.js';

/**
 * Resolves to a new token for the store, from usher's `POST /api/auth` or from
 * the application's server. It is called when the store opens, when about three
 * quarters of a token's lifetime have passed, and when the server closed the
 * socket because of its token. After a rejection it is called again, at first
 * within a second, later every 30 seconds. It may wait for the user to sign in,
 * so there is no time limit: add one to your request. `signal` aborts when the
 * store closes.
 */
export type GetToken<Answer extends string | TokenInCookie = string> = (store: {
  storeId: string;
  clientId: string;
  signal: AbortSignal;
}) => Promise<Answer>;

/**
 * usher's answer to `POST /api/auth?mode=cookie`, for a token in a cookie. The
 * browser has stored the cookie by then, and sends it when it connects.
 */
export interface TokenInCookie {
  readonly expiresAt: string;
}

export interface FreshTokenOptions {
  /** Called for each failed attempt to get a token. The store keeps working, and is offline once the last token has expired. */
  onError?: ((error: unknown) => void) | undefined;
}

/**
 * Wraps a sync backend such as `makeWsSync(...)`, so that each connection sends
 * a fresh token: as `payload.authToken`, or as a cookie. The store opens and
 * accepts commits immediately, even before there is a token. When the token
 * changes, the new connection opens before the old one closes, the pull continues
 * at its cursor, and LiveStore repeats an unfinished push.
 */
export function withFreshToken<Constructor extends BackendConstructor>(
  inner: Constructor,
  getToken: GetToken<string | TokenInCookie>,
  { onError }: FreshTokenOptions = {},
): Constructor {
  const make = ({ storeId, clientId, payload }: BackendArgs) =>
    Effect.gen(function* () {
      const storeScope = yield* Effect.scope;
      const isConnected = yield* SubscriptionRef.make(false);
      const first = yield* Deferred.make<void>();
      let current: Connection | undefined;

      const connect = Effect.gen(function* () {
        const answer = yield* Effect.tryPromise({
          try: (signal) => getToken({ storeId, clientId, signal }),
          catch: (error) => error,
        });
        const receivedAt = yield* Clock.currentTimeMillis;
        const inCookie = typeof answer !== 'string';
        const lifetime = yield* Effect.try({
          try: () => (inCookie ? lifetimeInCookie(answer, receivedAt) : lifetimeOf(answer)),
          catch: (error) => error,
        });
        const scope = yield* Scope.fork(storeScope, ExecutionStrategy.sequential);
        const args = { storeId, clientId, payload: inCookie ? payload : { ...payload, authToken: answer } };
        const backend: Backend = yield* inner(args).pipe(Scope.extend(scope));
        const replaced = yield* Deferred.make<never, Offline>();
        const refused = yield* Deferred.make<void>();
        return { backend, scope, replaced, refused, receivedAt, lifetime } satisfies Connection;
      }).pipe(
        Effect.tapError((error) => Effect.sync(() => onError?.(error))),
        Effect.retry(retries),
      );

      const use = (next: Connection) =>
        Effect.gen(function* () {
          const old = current;
          // If the server is unreachable, waiting on the new connection is as good.
          if (old) yield* next.backend.connect.pipe(Scope.extend(next.scope), Effect.timeout('10 seconds'), Effect.ignore);
          current = next;
          yield* next.backend.isConnected.changes.pipe(
            Stream.runForEach((value) => SubscriptionRef.set(isConnected, value)),
            Effect.forkIn(next.scope),
          );
          yield* Deferred.succeed(first, undefined);
          if (!old) return;
          // When offline, LiveStore pulls again from its cursor.
          yield* Deferred.fail(old.replaced, new Offline({ cause: new Error('token renewed') }));
          yield* Scope.close(old.scope, Exit.void);
        });

      const keepFresh = Effect.gen(function* () {
        for (;;) {
          const connection = yield* connect;
          yield* use(connection);
          const { receivedAt, lifetime, refused } = connection;
          const due = sleepUntil(receivedAt + lifetime * (0.7 + 0.1 * Math.random()));
          const refusedEarly = Deferred.await(refused).pipe(Effect.zipRight(sleepUntil(receivedAt + refusalPause)));
          yield* Effect.raceFirst(due, refusedEarly);
        }
      });
      yield* Effect.forkIn(keepFresh, storeScope);

      const withCurrent = Effect.map(Deferred.await(first), () => current!);
      return {
        isConnected,
        connect: Effect.flatMap(withCurrent, ({ backend }) => backend.connect),
        ping: Effect.flatMap(withCurrent, ({ backend }) => backend.ping),
        pull: (cursor: unknown, options: unknown) =>
          Stream.unwrap(
            Effect.map(withCurrent, ({ backend, replaced, refused }) =>
              backend.pull(cursor, options).pipe(
                Stream.tapError((error) => (isRefusal(error) ? Deferred.succeed(refused, undefined) : Effect.void)),
                Stream.interruptWhenDeferred(replaced),
              ),
            ),
          ),
        push: (batch: unknown) =>
          Effect.flatMap(withCurrent, ({ backend, replaced }) =>
            Effect.raceFirst(backend.push(batch), Deferred.await(replaced)),
          ),
        metadata: { name: '@usher-auth/sdk', description: 'A sync backend with fresh tokens' },
        supports: { pullPageInfoKnown: true, pullLive: true },
      } satisfies Backend;
    });
  return make as unknown as Constructor;
}

/** One token, and the connection that uses it. */
interface Connection {
  readonly backend: Backend;
  readonly scope: Scope.CloseableScope;
  /** Fails once another connection has taken over. */
  readonly replaced: Deferred.Deferred<never, Offline>;
  /** Done once the server has closed the socket because of its token. */
  readonly refused: Deferred.Deferred<void>;
  readonly receivedAt: number;
  readonly lifetime: number;
}

// LiveStore recognizes the error by its tag.
class Offline extends Data.TaggedError('IsOfflineError')<{ cause: unknown }> {}

const retries = Schedule.exponential('1 second').pipe(Schedule.union(Schedule.spaced('30 seconds')), Schedule.jittered);

/** The minimum time between two tokens if the server refused the first. */
const refusalPause = 10_000;

/** The lifetime of a token in milliseconds, to be counted from its receipt: a browser's clock may be wrong by hours. */
function lifetimeOf(token: string): number {
  try {
    const payload = token.split('.')[1]!.replaceAll('-', '+').replaceAll('_', '/');
    const { iat, exp } = JSON.parse(atob(payload)) as { iat: number; exp: number };
    if (exp > iat) return (exp - iat) * 1000;
  } catch {
    // The parser's message would quote the token.
  }
  throw new TypeError('withFreshToken: getToken did not return a token');
}

/**
 * The lifetime of a token in a cookie, of which only the expiry is known. If the
 * clock is ahead, the token may seem expired: then use usher's minimum lifetime.
 * If it is behind, the lifetime seems too long: use usher's maximum at most, and
 * the server closes the socket earlier.
 */
function lifetimeInCookie(answer: TokenInCookie, now: number): number {
  const left = Date.parse(answer?.expiresAt) - now;
  if (Number.isNaN(left)) throw new TypeError('withFreshToken: getToken returned neither a token nor the expiresAt of a cookie');
  return left > 0 ? Math.min(left, 3_600_000) : 60_000;
}

/** Sleeps in steps, because timers stop while the machine sleeps, and the clock does not. */
function sleepUntil(time: number): Effect.Effect<void> {
  return Effect.flatMap(Clock.currentTimeMillis, (now) =>
    now >= time
      ? Effect.void
      : Effect.zipRight(Effect.sleep(Math.min(time - now, 10_000)), Effect.suspend(() => sleepUntil(time))),
  );
}

function isRefusal(error: { cause?: { code?: unknown } | undefined }): boolean {
  const code = error.cause?.code;
  return code === closeCode.expired || code === closeCode.revoked;
}

interface BackendArgs {
  storeId: string;
  clientId: string;
  payload?: object | undefined;
}

// LiveStore's SyncBackendConstructor. Its type parameters are kept as they are.
type BackendConstructor = (args: any) => Effect.Effect<any, any, any>;

interface Backend {
  readonly isConnected: SubscriptionRef.SubscriptionRef<boolean>;
  readonly connect: Effect.Effect<void, any, Scope.Scope>;
  readonly ping: Effect.Effect<void, any>;
  pull(cursor: unknown, options: unknown): Stream.Stream<unknown, any>;
  push(batch: unknown): Effect.Effect<void, any>;
  readonly metadata: object;
  readonly supports: object;
}
