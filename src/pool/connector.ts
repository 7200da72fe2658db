/**
 * Makes connections: a few at a time, each with a limit, and after a failure not again before a wait that grows with
 * every failure (full jitter), so that a server that comes back is not run down by those who waited for it.
 *
 * It does not decide who gets a connection and keeps none. What arrives after its limit is destroyed.
 */
import { Backoff } from "../backoff.ts";
import type { Clock, Timer } from "../clock.ts";
import { Attempt, destroyQuietly } from "./attempt.ts";
import type { Poolable, PoolErrorClass } from "./types.ts";

const BACKOFF_FIRST_MS = 100;
const BACKOFF_MAX_MS = 5_000;

/** When an attempt began, and in which generation. */
export interface Begun {
  readonly atMs: number;
  readonly generation: number;
}

export interface ConnectorOptions<C> {
  readonly connect: (context: { signal: AbortSignal }) => Promise<C>;
  readonly classify: (error: unknown) => PoolErrorClass;
  readonly maxConnecting: number;
  readonly connectTimeoutMs: number;
  readonly clock: Clock;
  readonly random: () => number;
  /** The pool's present one. */
  readonly generation: () => number;
  /** It has a new connection. */
  readonly onOpened: (connection: C, begun: Begun) => void;
  readonly onFailed: (error: unknown, kind: PoolErrorClass) => void;
  /** A wait is over: there may be something to do. */
  readonly onReady: () => void;
}

export class Connector<C extends Poolable> {
  readonly #options: ConnectorOptions<C>;
  readonly #backoff: Backoff;
  readonly #attempts = new Set<Attempt<C>>();
  #closed = false;
  #retryTimer: Timer | undefined;
  #notBeforeMs = -Infinity;
  /** Of the last attempt that failed since one succeeded. */
  lastError: { readonly error: unknown; readonly kind: PoolErrorClass } | undefined;

  constructor(options: ConnectorOptions<C>) {
    this.#options = options;
    this.#backoff = new Backoff({
      firstMs: BACKOFF_FIRST_MS,
      maxMs: BACKOFF_MAX_MS,
      random: options.random,
    });
  }

  /** Under way now. */
  get connecting(): number {
    return this.#attempts.size;
  }

  /** True while the last failure is too fresh to try again. */
  get waiting(): boolean {
    return this.#options.clock.now() < this.#notBeforeMs;
  }

  /** Begins attempts until `wanted` are under way, within the limits. */
  want(wanted: number): void {
    const { maxConnecting } = this.#options;
    if (this.#closed) return;
    while (this.connecting < Math.min(wanted, maxConnecting)) {
      if (this.waiting) return this.#retryLater();
      // After a failure one attempt has to succeed before there are several.
      if (this.lastError && this.connecting > 0) return;
      void this.#attempt();
    }
  }

  #retryLater(): void {
    const { clock, onReady } = this.#options;
    this.#retryTimer ??= clock.timer(this.#notBeforeMs - clock.now(), () => {
      this.#retryTimer = undefined;
      onReady();
    });
  }

  async #attempt(): Promise<void> {
    const { connect, connectTimeoutMs, clock, generation, onOpened, onReady } = this.#options;
    const begun = { atMs: clock.now(), generation: generation() };
    const attempt = new Attempt<C>();
    this.#attempts.add(attempt);
    const timer = connectTimeoutMs === Infinity ? undefined : clock.timer(
      connectTimeoutMs,
      () => attempt.end(new Error(`no connection within ${connectTimeoutMs / 1_000} s`)),
    );
    try {
      const connection = await attempt.made(connect);
      this.#attempts.delete(attempt);
      try {
        onOpened(connection, begun);
      } catch (error) {
        destroyQuietly(connection);
        throw error;
      }
    } catch (error) {
      this.#attempts.delete(attempt);
      return this.#failed(error);
    } finally {
      timer?.cancel();
    }
    this.#backoff.reset();
    this.lastError = undefined;
    this.#notBeforeMs = -Infinity;
    // Those that waited for the first good one may follow now.
    onReady();
  }

  #failed(error: unknown): void {
    const { clock, classify, onFailed } = this.#options;
    if (this.#closed) return onFailed(error, "other");
    const kind = classify(error);
    this.lastError = { error, kind };
    this.#notBeforeMs = clock.now() + this.#backoff.nextMs();
    onFailed(error, kind);
  }

  /** Ends what is under way. */
  close(reason: unknown): void {
    this.#closed = true;
    this.#retryTimer?.cancel();
    for (const attempt of [...this.#attempts]) attempt.end(reason);
  }
}
