/**
 * Time as everything in Sluice sees it, so that tests can hold it still.
 *
 * Every rule about waiting reads `now()`, which is monotonic: a wall clock that jumps (NTP, a Pi without a
 * battery) must not expire a lease or stall a retry. `wallMs()` exists for one purpose only: to say when a
 * message arrived. Timers do not keep the process alive.
 */

/** A running timer. `cancel` may be called any number of times. */
export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Milliseconds on a clock that never goes back. Its zero has no meaning. */
  now(): number;
  /** Milliseconds since 1970-01-01 UTC, as the operating system believes them to be. */
  wallMs(): number;
  /** Calls `callback` once after `delayMs` (0 or more), unless cancelled. */
  timer(delayMs: number, callback: () => void): Timer;
}

/** The longest delay that a JavaScript timer can hold; a longer one would fire at once. */
const TIMER_MS_MAX = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => performance.now(),
  wallMs: () => Date.now(),
  timer(delayMs, callback) {
    const id = setTimeout(callback, Math.min(Math.max(0, delayMs), TIMER_MS_MAX));
    Deno.unrefTimer(id);
    return { cancel: () => clearTimeout(id) };
  },
};

/** Resolves after `delayMs`, or rejects with the signal's reason as soon as `signal` is aborted. */
export function sleep(delayMs: number, signal?: AbortSignal, clock: Clock = systemClock): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  if (signal?.aborted) {
    reject(signal.reason);
    return promise;
  }
  const onAbort = () => {
    timer.cancel();
    reject(signal!.reason);
  };
  const timer = clock.timer(delayMs, () => {
    signal?.removeEventListener("abort", onAbort);
    resolve();
  });
  signal?.addEventListener("abort", onAbort, { once: true });
  return promise;
}
