/**
 * A small connection pool. It hands out leases and never loses, doubles or leaks one; it knows nothing of databases.
 *
 * It is no load balancer, retries no statement, and opens nothing in advance. The limit counts sockets: connecting,
 * idle, leased and closing together. Waiters are served strictly in order; whatever frees capacity serves the first.
 */
import { type Clock, systemClock, type Timer } from "../clock.ts";
import { LeaseReleasedError, PoolClosedError, PoolTimeoutError } from "./errors.ts";
import type {
  AcquireOptions,
  CloseReason,
  ConnectionPool,
  ConnectionState,
  Lease,
  Poolable,
  PoolOptions,
  PoolStats,
} from "./types.ts";

interface Slot<C> {
  readonly connection: C;
  readonly bornAt: number;
  readonly recycleAt: number;
  readonly generation: number;
  usedAt: number;
  uses: number;
  state: "idle" | "leased" | "closing";
  soft: boolean;
  timer: Timer | undefined;
}

interface Waiter<C> {
  readonly deadline: number;
  readonly grant: PromiseWithResolvers<Slot<C>>;
}

const NEVER = Infinity;

export class Pool<C extends Poolable> implements ConnectionPool<C> {
  readonly #connect: PoolOptions<C>["connect"];
  readonly #size: number;
  readonly #limit: number;
  readonly #timeoutMs: number;
  readonly #recycleMs: number;
  readonly #jitter: number;
  readonly #ping: { idleOverMs: number; timeoutMs: number } | null;
  readonly #lifo: boolean;
  readonly #reset: "rollback" | "full" | "none";
  readonly #resetMs: number;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #slots = new Set<Slot<C>>();
  readonly #idle: Slot<C>[] = [];
  readonly #waiters: Waiter<C>[] = [];
  #connecting = 0;
  #closing = 0;
  #generation = 0;
  #closed = false;
  #stop = new AbortController();
  #lastConnectError: unknown;
  #drained: (() => void) | undefined;

  constructor(options: PoolOptions<C>) {
    const { size = 5, maxOverflow = 10, timeout = 30, recycle = 3_600, recycleJitter = 0.1, prePing = true } =
      options;
    this.#connect = options.connect;
    this.#size = size;
    this.#limit = maxOverflow < 0 ? Infinity : size + maxOverflow;
    this.#timeoutMs = timeout * 1_000;
    this.#recycleMs = recycle < 0 ? NEVER : recycle * 1_000;
    this.#jitter = recycleJitter;
    const ping = prePing === true ? {} : prePing;
    this.#ping = ping === false
      ? null
      : { idleOverMs: (ping.idleOver ?? 0) * 1_000, timeoutMs: (ping.timeout ?? 1) * 1_000 };
    this.#lifo = options.order === "lifo";
    this.#reset = options.resetOnReturn ?? "rollback";
    this.#resetMs = (options.resetTimeout ?? 5) * 1_000;
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? Math.random;
  }

  async acquire({ signal, timeout }: AcquireOptions = {}): Promise<Lease<C>> {
    signal?.throwIfAborted();
    if (this.#closed) throw new PoolClosedError("the pool is closed");
    const deadline = this.#clock.now() + (timeout === undefined ? this.#timeoutMs : timeout * 1_000);
    while (true) {
      const taken = this.#waiters.length === 0 ? this.#takeIdle() : undefined;
      const slot = taken ?? await this.#wait(deadline, signal);
      if (await this.#alive(slot, deadline, signal)) {
        return new SlotLease(this, slot, (soft, error) => this.#return(slot, soft, error));
      }
    }
  }

  async use<T>(action: (connection: C) => Promise<T>, options?: AcquireOptions): Promise<T> {
    await using lease = await this.acquire(options);
    return await action(lease.connection);
  }

  #takeIdle(): Slot<C> | undefined {
    while (this.#idle.length > 0) {
      const slot = (this.#lifo ? this.#idle.pop() : this.#idle.shift())!;
      if (this.#due(slot)) {
        void this.#retire(slot, "recycle");
        continue;
      }
      slot.state = "leased";
      slot.timer?.cancel();
      return slot;
    }
    return undefined;
  }

  #due(slot: Slot<C>): boolean {
    return slot.soft || slot.generation < this.#generation || this.#clock.now() >= slot.recycleAt;
  }

  /** A place in the queue: whatever comes first, a returned connection or the one that is made for it. */
  async #wait(deadline: number, signal: AbortSignal | undefined): Promise<Slot<C>> {
    const waiter: Waiter<C> = { deadline, grant: Promise.withResolvers() };
    this.#waiters.push(waiter);
    const leave = (error: unknown) => {
      const at = this.#waiters.indexOf(waiter);
      if (at >= 0) this.#waiters.splice(at, 1);
      waiter.grant.reject(error);
    };
    const onAbort = () => leave(signal!.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    const timer = this.#clock.timer(
      deadline - this.#clock.now(),
      () => leave(this.#timedOut(this.#connecting > 0 ? "connect" : "queue")),
    );
    this.#grow();
    try {
      return await waiter.grant.promise;
    } finally {
      timer.cancel();
      signal?.removeEventListener("abort", onAbort);
    }
  }

  #timedOut(where: PoolTimeoutError["where"]): PoolTimeoutError {
    const { idle, leased, connecting, waiting } = this.stats;
    const cause = this.#lastConnectError;
    const last = cause ? `; the last connect failed: ${(cause as Error).message ?? cause}` : "";
    return new PoolTimeoutError(
      `no connection in time (limit ${this.#limit}: ${idle} idle, ${leased} leased, ${connecting} connecting, ${waiting} waiting)${last}`,
      where,
      { cause },
    );
  }

  /** Opens as many connections as there are waiters without one on its way, within the limit. */
  #grow(): void {
    while (
      !this.#closed && this.#connecting < this.#waiters.length &&
      this.#slots.size + this.#connecting + this.#closing < this.#limit
    ) {
      this.#connecting++;
      void this.#open();
    }
  }

  async #open(): Promise<void> {
    const bornAt = this.#clock.now();
    try {
      const connection = await this.#connect({ signal: this.#stop.signal });
      this.#connecting--;
      const recycleAt = bornAt + this.#recycleMs * (1 - this.#jitter * this.#random());
      const slot: Slot<C> = {
        connection,
        bornAt,
        recycleAt,
        generation: this.#generation,
        usedAt: bornAt,
        uses: 0,
        state: "leased",
        soft: false,
        timer: undefined,
      };
      if (this.#closed) return connection.destroy();
      this.#slots.add(slot);
      this.#lastConnectError = undefined;
      connection.closed.then(() => this.#died(slot), () => this.#died(slot));
      this.#hand(slot);
    } catch (error) {
      this.#connecting--;
      this.#lastConnectError = error;
      this.#waiters.shift()?.grant.reject(error);
      this.#grow();
    }
  }

  /** To the first waiter, or to the idle ones. */
  #hand(slot: Slot<C>): void {
    const waiter = this.#waiters.shift();
    if (waiter) {
      slot.state = "leased";
      waiter.grant.resolve(slot);
    } else if (this.#idle.length >= this.#size) void this.#retire(slot, "overflow");
    else {
      slot.state = "idle";
      slot.usedAt = this.#clock.now();
      if (slot.recycleAt !== NEVER) {
        slot.timer = this.#clock.timer(slot.recycleAt - this.#clock.now(), () => {
          if (slot.state === "idle") void this.#retire(slot, "recycle");
        });
      }
      this.#idle.push(slot);
    }
  }

  /** Pings before use. False: it is gone, and everything older with it. */
  async #alive(slot: Slot<C>, deadline: number, signal: AbortSignal | undefined): Promise<boolean> {
    const fresh = slot.uses++ === 0;
    if (fresh || !this.#ping || this.#clock.now() - slot.usedAt < this.#ping.idleOverMs) return true;
    const limitMs = Math.min(this.#ping.timeoutMs, deadline - this.#clock.now());
    try {
      await this.#limited(() => slot.connection.ping(), limitMs, signal);
      return true;
    } catch {
      this.#destroy(slot, "ping");
      this.invalidateAll();
      signal?.throwIfAborted();
      if (this.#clock.now() >= deadline) throw this.#timedOut("ping");
      return false;
    }
  }

  async #limited(action: () => Promise<unknown>, limitMs: number, signal?: AbortSignal): Promise<void> {
    const expired = Promise.withResolvers<never>();
    const timer = this.#clock.timer(limitMs, () => expired.reject(new Error("no answer in time")));
    const onAbort = () => expired.reject(signal!.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      await Promise.race([(async () => await action())(), expired.promise]);
    } finally {
      timer.cancel();
      signal?.removeEventListener("abort", onAbort);
    }
  }

  async #return(slot: Slot<C>, soft: boolean, error: unknown): Promise<void> {
    if (!this.#slots.has(slot)) return;
    if (error !== undefined && !soft) return this.#destroy(slot, "invalidated");
    slot.soft ||= soft;
    const { connection } = slot;
    try {
      if (connection.inFlight > 0) throw new Error("a command is still under way");
      if (this.#reset === "full") await this.#limited(() => connection.reset(), this.#resetMs);
      else if (this.#reset === "rollback" && connection.inTransaction) {
        await this.#limited(() => connection.rollback(), this.#resetMs);
      }
    } catch {
      return this.#destroy(slot, "reset");
    }
    if (!this.#slots.has(slot)) return;
    if (this.#closed) return void await this.#retire(slot, "shutdown");
    if (this.#due(slot)) return void this.#retire(slot, "recycle");
    this.#hand(slot);
  }

  #died(slot: Slot<C>): void {
    if (this.#slots.has(slot)) this.#destroy(slot, "dead");
  }

  #destroy(slot: Slot<C>, _reason: CloseReason): void {
    this.#forget(slot);
    try {
      slot.connection.destroy();
    } catch {
      // It is out of the pool whatever the driver says.
    }
    this.#freed();
  }

  /** A polite end, within the reset's limit. */
  async #retire(slot: Slot<C>, _reason: CloseReason): Promise<void> {
    this.#forget(slot);
    slot.state = "closing";
    this.#closing++;
    try {
      await this.#limited(() => slot.connection.close(), this.#resetMs);
    } catch {
      // Then without politeness.
    }
    try {
      slot.connection.destroy();
    } catch {
      // As above.
    }
    this.#closing--;
    this.#freed();
  }

  #forget(slot: Slot<C>): void {
    this.#slots.delete(slot);
    slot.timer?.cancel();
    const at = this.#idle.indexOf(slot);
    if (at >= 0) this.#idle.splice(at, 1);
  }

  #freed(): void {
    this.#grow();
    if (this.#slots.size + this.#closing === 0) this.#drained?.();
  }

  invalidateAll({ soft = false }: { soft?: boolean } = {}): void {
    this.#generation++;
    if (!soft) { for (const slot of [...this.#idle]) void this.#retire(slot, "invalidated"); }
  }

  async close({ drain = 5 }: { drain?: number } = {}): Promise<void> {
    this.#closed = true;
    this.#stop.abort(new PoolClosedError("the pool is closed"));
    for (const waiter of this.#waiters.splice(0)) {
      waiter.grant.reject(new PoolClosedError("the pool is closed"));
    }
    for (const slot of [...this.#idle]) void this.#retire(slot, "shutdown");
    if (this.#slots.size + this.#closing > 0) {
      const done = Promise.withResolvers<void>();
      this.#drained = done.resolve;
      const timer = this.#clock.timer(drain * 1_000, done.resolve);
      await done.promise;
      timer.cancel();
    }
    for (const slot of [...this.#slots]) this.#destroy(slot, "shutdown");
  }

  get stats(): PoolStats {
    const leased = this.#slots.size - this.#idle.length;
    return {
      size: this.#size,
      idle: this.#idle.length,
      leased,
      connecting: this.#connecting,
      closing: this.#closing,
      waiting: this.#waiters.length,
      overflow: Math.max(0, this.#slots.size + this.#connecting - this.#size),
      generation: this.#generation,
    };
  }

  get connections(): readonly ConnectionState[] {
    const now = this.#clock.now();
    return [...this.#slots].map((slot) => ({
      id: slot.connection.id,
      state: slot.state,
      ageMs: now - slot.bornAt,
      idleMs: slot.state === "idle" ? now - slot.usedAt : 0,
      uses: slot.uses,
      recycleInMs: slot.recycleAt === NEVER ? null : slot.recycleAt - now,
    }));
  }

  /** SQLAlchemy's one line. */
  status(): string {
    const { size, idle, leased } = this.stats;
    return `Pool size: ${size}  Connections in pool: ${idle} Current Overflow: ${
      idle + leased - size
    } Current Checked out connections: ${leased}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

class SlotLease<C extends Poolable> implements Lease<C> {
  #give: ((soft: boolean, error: unknown) => Promise<void>) | undefined;
  readonly #connection: C;
  #soft = false;

  constructor(
    _pool: Pool<C>,
    slot: { connection: C },
    give: (soft: boolean, error: unknown) => Promise<void>,
  ) {
    this.#connection = slot.connection;
    this.#give = give;
  }

  get connection(): C {
    if (!this.#give) throw new LeaseReleasedError("the lease was released: acquire another one");
    return this.#connection;
  }

  async release(): Promise<void> {
    const give = this.#give;
    this.#give = undefined;
    await give?.(this.#soft, undefined);
  }

  invalidate(error: unknown = new Error("invalidated"), { soft = false }: { soft?: boolean } = {}): void {
    if (soft) this.#soft = true;
    else {
      const give = this.#give;
      this.#give = undefined;
      void give?.(false, error);
    }
  }

  detach(): C {
    throw new Error("not built");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release().catch(() => {});
  }
}
