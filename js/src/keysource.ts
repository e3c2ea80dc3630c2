import { VerifyError } from './errors.js';
import { parseStrictJSON } from './json.js';
import { readKeySet, type KeyMap } from './keys.js';

/** Where a verifier's keys come from. */
export interface KeySource {
  /** The keys to verify with now; not a promise while they are fresh. */
  current(): KeyMap | Promise<KeyMap>;
  /** Tries to find newer keys, for a kid that `current` did not have. */
  refetch(): Promise<KeyMap>;
}

/** A key set that never changes. Throws like {@link readKeySet}. */
export function staticKeys(set: unknown): KeySource {
  const keys = readKeySet(set);
  return { current: () => keys, refetch: async () => keys };
}

const second = 1000;

// usher publishes a key before its first signature for longer than a verifier
// keeps a set. So these numbers are part of the contract: at most 10 minutes.
const refreshAfter = 300 * second;
const staleAfter = 600 * second;

const maxStale = 24 * 3600 * second;

const cooldown = 30 * second; // between two fetches, with keys
const coldCooldown = 1 * second; // after a failed fetch, without keys
const timeout = 5 * second;
const maxBytes = 256 * 1024;

/**
 * The key set at a URL, fetched and cached when a verification needs it.
 *
 * A set is refreshed in the background after 5 minutes. After 10 minutes without
 * use it is refreshed before the next answer, so that keys removed by the issuer
 * are no longer accepted. While fetches fail or return no usable set, the last
 * valid set is used for up to 24 hours. Fetches are then retried at most every
 * 30 seconds, and only the first failure delays a verification.
 */
export function remoteKeys(url: string, fetchImpl: typeof fetch, now: () => number): KeySource {
  let keys: KeyMap | undefined;
  let body: Uint8Array | undefined;
  let fetchedAt = -Infinity;
  let triedAt = -Infinity;
  let failedAt = -Infinity;
  let failure: unknown;
  let pending: Promise<void> | undefined;

  // A clock that is set back must not keep anything fresh for longer.
  const within = (since: number, span: number) => now() >= since && now() - since < span;

  // Never rejects: the outcome is in the variables above.
  async function load(): Promise<void> {
    triedAt = now();
    try {
      const next = await fetchBytes(url, fetchImpl);
      // The same bytes keep the same map, and the tokens cached for it.
      if (!body || !equal(body, next)) keys = readKeySet(parseStrictJSON(next));
      body = next;
      fetchedAt = now();
      failedAt = -Infinity;
    } catch (error) {
      failure = error;
      failedAt = now();
      if (now() - fetchedAt >= maxStale) keys = body = undefined;
    }
  }

  function loadOnce(): Promise<void> {
    // A Workers request cannot await a promise of another request.
    if (pending && !isWorkers) return pending;
    const own = load().finally(() => {
      if (pending === own) pending = undefined;
    });
    return (pending = own);
  }

  function loaded(): KeyMap {
    if (keys === undefined) throw new VerifyError('keys_unavailable', { cause: failure });
    return keys;
  }

  return {
    current() {
      if (keys !== undefined) {
        if (within(fetchedAt, refreshAfter)) return keys;
        if (within(fetchedAt, staleAfter) || within(failedAt, staleAfter)) {
          if (!within(triedAt, cooldown)) void loadOnce();
          return keys;
        }
      } else if (within(failedAt, coldCooldown)) {
        return Promise.reject(new VerifyError('keys_unavailable', { cause: failure }));
      }
      return loadOnce().then(loaded);
    },

    async refetch() {
      if (pending && !isWorkers) await pending;
      else if (!within(triedAt, cooldown)) await loadOnce();
      // After a failed fetch, an unknown key may be a new one.
      if (failedAt !== -Infinity) throw new VerifyError('keys_unavailable', { cause: failure });
      return loaded();
    },
  };
}

const isWorkers = typeof navigator !== 'undefined' && navigator.userAgent === 'Cloudflare-Workers';

/** GETs a small document without redirects, with limits on time and bytes. */
async function fetchBytes(url: string, fetchImpl: typeof fetch): Promise<Uint8Array> {
  const signal = AbortSignal.timeout(timeout);
  // Also limits a fetch that ignores its signal.
  const expired = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
  const headers = { accept: 'application/jwk-set+json, application/json' };
  const get = async () => readBytes(await fetchImpl(url, { redirect: 'manual', signal, headers }));
  return Promise.race([get(), expired]);
}

async function readBytes(response: Response): Promise<Uint8Array> {
  if (response.status !== 200) {
    await response.body?.cancel();
    throw new Error(`key set: status ${response.status}`);
  }
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  for (const reader = response.body!.getReader(); ;) {
    const { done, value } = await reader.read();
    if (done) return new Uint8Array(await new Blob(chunks).arrayBuffer());
    chunks.push(value);
    size += value.length;
    if (size > maxBytes) {
      await reader.cancel();
      throw new Error(`key set: more than ${maxBytes} bytes`);
    }
  }
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
