/**
 * No pool at all behind the pool's interface: a new connection for each acquire, closed on release, without a limit.
 */
import { type Clock, systemClock } from "../clock.ts";
import { LeaseReleasedError, PoolClosedError, PoolTimeoutError } from "./errors.ts";
import type {
  AcquireOptions,
  ConnectionPool,
  ConnectionState,
  Lease,
  Poolable,
  PoolOptions,
  PoolStats,
} from "./types.ts";

export class NullPool<C extends Poolable> implements ConnectionPool<C> {
  readonly #connect: PoolOptions<C>["connect"];
  readonly #timeoutMs: number;
  readonly #clock: Clock;
  readonly #leased = new Map<C, number>();
  #connecting = 0;
  #closed = false;

  constructor(options: Pick<PoolOptions<C>, "connect" | "timeout" | "prePing" | "recycle" | "clock">) {
    this.#connect = options.connect;
    this.#timeoutMs = (options.timeout ?? 30) * 1_000;
    this.#clock = options.clock ?? systemClock;
  }

  async acquire({ signal, timeout }: AcquireOptions = {}): Promise<Lease<C>> {
    if (this.#closed) throw new PoolClosedError("the pool is closed");
    const timedOut = new AbortController();
    const timer = this.#clock.timer(
      timeout === undefined ? this.#timeoutMs : timeout * 1_000,
      () => timedOut.abort(new PoolTimeoutError("no connection in time (a new one for each use)", "connect")),
    );
    this.#connecting++;
    try {
      const both = signal ? AbortSignal.any([signal, timedOut.signal]) : timedOut.signal;
      both.throwIfAborted();
      const connection = await this.#connect({ signal: both });
      this.#leased.set(connection, this.#clock.now());
      return this.#lease(connection);
    } finally {
      this.#connecting--;
      timer.cancel();
    }
  }

  #lease(connection: C): Lease<C> {
    let open = true;
    const end = async (politely: boolean) => {
      if (!open) return;
      open = false;
      this.#leased.delete(connection);
      if (politely) await connection.close().catch(() => {});
      connection.destroy();
    };
    return {
      get connection() {
        if (!open) throw new LeaseReleasedError("the lease was released: acquire another one");
        return connection;
      },
      release: () => end(connection.inFlight === 0),
      invalidate: (_error, { soft = false } = {}) => void (soft || end(false)),
      detach: () => {
        open = false;
        this.#leased.delete(connection);
        return connection;
      },
      [Symbol.asyncDispose]: () => end(connection.inFlight === 0),
    };
  }

  async use<T>(action: (connection: C) => Promise<T>, options?: AcquireOptions): Promise<T> {
    await using lease = await this.acquire(options);
    return await action(lease.connection);
  }

  invalidateAll(): void {}

  close(): Promise<void> {
    this.#closed = true;
    return Promise.resolve();
  }

  get stats(): PoolStats {
    return {
      size: 0,
      idle: 0,
      leased: this.#leased.size,
      connecting: this.#connecting,
      closing: 0,
      waiting: 0,
      overflow: 0,
      generation: 0,
    };
  }

  get connections(): readonly ConnectionState[] {
    const now = this.#clock.now();
    return [...this.#leased].map(([{ id }, bornAt]) => ({
      id,
      state: "leased",
      ageMs: now - bornAt,
      idleMs: 0,
      uses: 1,
      recycleInMs: null,
    }));
  }

  status(): string {
    return "NullPool";
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
