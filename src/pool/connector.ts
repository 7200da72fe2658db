/**
 * Makes connections: a few at a time, each with a limit, and after a failure not again before a wait that grows with
 * every failure (full jitter), so that a server that comes back is not run down by those who waited for it.
 *
 * It does not decide who gets a connection and keeps none. What arrives after its limit is destroyed.
 */
import { Backoff } from "../backoff.ts";
import type { Clock, Timer } from "../clock.ts";
import type { Poolable, PoolErrorClass } from "./types.ts";

const BACKOFF_FIRST_MS = 100;
const BACKOFF_MAX_MS = 5_000;

export interface ConnectorOptions<C> {
  readonly connect: (context: { signal: AbortSignal }) => Promise<C>;
  readonly classify: (error: unknown) => PoolErrorClass;
  readonly maxConnecting: number;
  readonly connectTimeoutMs: number;
  readonly clock: Clock;
  readonly random: () => number;
  /** It has a new connection, begun at `bornAtMs`. */
  readonly onOpened: (connection: C, bornAtMs: number) => void;
  readonly onFailed: (error: unknown, kind: PoolErrorClass) => void;
  /** A wait is over: there may be something to do. */
  readonly onReady: () => void;
}

export class Connector<C extends Poolable> {
  readonly #options: ConnectorOptions<C>;
  readonly #backoff: Backoff;
  readonly #stop = new AbortController();
  #retryTimer: Timer | undefined;
  #notBeforeMs = -Infinity;
  /** Under way now. */
  connecting = 0;
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

  /** True while the last failure is too fresh to try again. */
  get waiting(): boolean {
    return this.#options.clock.now() < this.#notBeforeMs;
  }

  /** Begins attempts until `wanted` are under way, within the limits. */
  want(wanted: number): void {
    const { maxConnecting } = this.#options;
    if (this.#stop.signal.aborted) return;
    while (this.connecting < Math.min(wanted, maxConnecting)) {
      if (this.waiting) return this.#retryLater();
      // After a failure one attempt has to succeed before there are several.
      if (this.lastError && this.connecting > 0) return;
      this.connecting++;
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
    const { connect, connectTimeoutMs, clock, onOpened, onReady } = this.#options;
    const bornAtMs = clock.now();
    const limit = new AbortController();
    const expired = Promise.withResolvers<never>();
    const giveUp = (reason: unknown) => {
      limit.abort(reason);
      expired.reject(reason);
    };
    const onStop = () => giveUp(this.#stop.signal.reason);
    this.#stop.signal.addEventListener("abort", onStop, { once: true });
    const timer = connectTimeoutMs === Infinity
      ? undefined
      : clock.timer(connectTimeoutMs, () => giveUp(new Error(`no connection within ${connectTimeoutMs} ms`)));
    const made = (async () => await connect({ signal: limit.signal }))();
    let connection: C;
    try {
      connection = await Promise.race([made, expired.promise]);
    } catch (error) {
      this.connecting--;
      if (limit.signal.aborted) made.then(destroyQuietly, () => {});
      return this.#failed(error);
    } finally {
      timer?.cancel();
      this.#stop.signal.removeEventListener("abort", onStop);
    }
    this.connecting--;
    try {
      onOpened(connection, bornAtMs);
    } catch (error) {
      destroyQuietly(connection);
      return this.#failed(error);
    }
    this.#backoff.reset();
    this.lastError = undefined;
    this.#notBeforeMs = -Infinity;
    // Those that waited for the first good one may follow now.
    onReady();
  }

  #failed(error: unknown): void {
    const { clock, onFailed } = this.#options;
    if (this.#stop.signal.aborted) return onFailed(error, "other");
    const kind = this.kindOf(error);
    this.lastError = { error, kind };
    this.#notBeforeMs = clock.now() + this.#backoff.nextMs();
    onFailed(error, kind);
  }

  /** As the driver's owner sees it; "other" where that fails. */
  kindOf(error: unknown): PoolErrorClass {
    try {
      return this.#options.classify(error);
    } catch {
      return "other";
    }
  }

  /** Ends what is under way. */
  close(reason: unknown): void {
    this.#retryTimer?.cancel();
    this.#stop.abort(reason);
  }
}

/** The socket must go, whatever the driver says. */
export function destroyQuietly(connection: Pick<Poolable, "destroy">): void {
  try {
    connection.destroy();
  } catch {
    // It is out of the pool all the same.
  }
}
