/**
 * A small connection pool. It hands out leases and never loses, doubles or leaks a connection; it knows nothing of
 * databases.
 *
 * It is no load balancer and no proxy, repeats no statement, opens nothing in advance, and does not hide that a
 * connection failed. The limit counts sockets as the server sees them: connecting, idle, leased and closing together.
 * Waiters are served strictly in order, and whatever frees capacity serves the first. A connection has one owner at any
 * time: the idle list, a lease, a waiter, or the pool while it checks or closes it. Words and meanings are SQLAlchemy's.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { type Begun, Connector } from "./connector.ts";
import { ConnectError, type PoolTimeoutError } from "./errors.ts";
import { IdleList } from "./idle_list.ts";
import { DONE } from "./lease.ts";
import { Leasing } from "./leasing.ts";
import { limited, NoAnswerError } from "./limited.ts";
import { acquireTimeoutMs } from "./options.ts";
import { recycleWarning, statusLine, textOf, timeoutError } from "./report.ts";
import { Slot } from "./slot.ts";
import { Stopwatch } from "./stopwatch.ts";
import type { AcquireOptions, Lease, Poolable, PoolErrorClass, PoolOptions, PoolStats } from "./types.ts";
import { Waiter, WaitingLine } from "./waiting_line.ts";

/** Two connections lost within this time are an outage; one is an accident, or a KILL. */
const OUTAGE_MS = 1_000;

export class Pool<C extends Poolable> extends Leasing<C> {
  readonly #idle: IdleList<C>;
  readonly #line: WaitingLine<Lease<C>>;
  /** Those whose connection is being pinged: out of the line, not served yet. */
  readonly #verifying = new Set<Waiter<Lease<C>>>();
  readonly #connector: Connector<C>;
  readonly #time: Stopwatch;
  /** Set inside of `use`, for the diagnosis of nested acquires; not asked where nobody has called that. */
  readonly #inside = new AsyncLocalStorage<true>();
  #hasUsers = false;
  #generation = 0;
  #tickets = 0;
  #lostAtMs = -Infinity;
  #warned = false;

  constructor(options: PoolOptions<C>) {
    super(options);
    const { settings } = this;
    this.#idle = new IdleList(settings, {
      retire: (slot, reason) => void this.sockets.retire(slot, reason),
      check: (slot) => this.#keepAlive(slot),
      stoodStill: () => this.#suspectAll(),
    });
    this.#time = new Stopwatch(settings.clock, () => this.#suspectAll());
    this.#line = new WaitingLine(settings.clock, (waiter) => waiter.reject(this.#timedOut(waiter)));
    this.#connector = new Connector({
      ...settings,
      generation: () => this.#generation,
      onOpened: (connection, begun) => this.#opened(connection, begun),
      onFailed: (error, kind) => this.#connectFailed(error, kind),
      onReady: () => this.freed(),
    });
  }

  /**
   * A lease on a connection that works, as far as a ping can tell. Rejects with `PoolTimeoutError`, `ConnectError`,
   * `PoolClosedError`, or the signal's own reason within one turn of its abort.
   */
  acquire(options?: AcquireOptions): Promise<Lease<C>> {
    if (this.closed) return Promise.reject(this.closedError("is closed: it gives no connections"));
    const signal = options?.signal;
    if (signal?.aborted) return Promise.reject(signal.reason);
    let limitMs = this.settings.timeoutMs;
    try {
      if (options?.timeout !== undefined) limitMs = acquireTimeoutMs(options.timeout);
    } catch (error) {
      return Promise.reject(error);
    }
    const now = this.#now();
    const slot = this.#line.length === 0 ? this.#idle.take(now, this.#generation) : undefined;
    if (slot && !this.#wantsPing(slot, now)) {
      const lease = this.lease(slot, now);
      if (this.events.wanted("acquire")) this.emit("acquire", slot);
      return Promise.resolve(lease);
    }
    const nested = this.#hasUsers && this.#inside.getStore() === true;
    const waiter = new Waiter<Lease<C>>(this.#tickets++, now, now + limitMs, signal, nested);
    if (signal) waiter.watch(signal, (reason) => this.#aborted(waiter, reason));
    if (slot) void this.#verify(slot, waiter);
    else if (limitMs > 0) this.#queue(waiter);
    else waiter.reject(this.#timedOut(waiter));
    return waiter.promise;
  }

  protected override run<T>(action: (connection: C) => Promise<T>, connection: C): Promise<T> {
    this.#hasUsers = true;
    return this.#inside.run(true, action, connection);
  }

  /** While many wait, one reading of the clock serves several of them. */
  #now(): number {
    return this.#line.length === 0 ? this.#time.now() : this.#time.inARow();
  }

  #queue(waiter: Waiter<Lease<C>>): void {
    this.#line.add(waiter);
    this.#grow();
  }

  #aborted(waiter: Waiter<Lease<C>>, reason: unknown): void {
    this.#line.remove(waiter);
    this.tally.aborted++;
    waiter.reject(reason);
  }

  #wantsPing(slot: Slot<C>, now: number): boolean {
    if (slot.fresh) return false;
    return slot.suspect || now - slot.answeredAtMs >= this.settings.pingIdleOverMs;
  }

  /** Gives a connection that is in order to the first in the line, or lays it down. */
  #hand(slot: Slot<C>, now: number): void {
    const waiter = this.#line.shift();
    if (waiter && this.#wantsPing(slot, now)) void this.#verify(slot, waiter);
    else if (waiter) this.#serve(waiter, slot, now);
    else if (!this.#idle.put(slot, now)) void this.sockets.retire(slot, "overflow");
  }

  #serve(waiter: Waiter<Lease<C>>, slot: Slot<C>, now: number): void {
    this.tally.waitedMs += now - waiter.sinceMs;
    waiter.resolve(this.lease(slot, now));
    if (this.events.wanted("acquire")) this.emit("acquire", slot);
  }

  /** Pings for a waiter. A dead one is destroyed, and the waiter goes back to its place in the line. */
  async #verify(slot: Slot<C>, waiter: Waiter<Lease<C>>): Promise<void> {
    const { clock, pingTimeoutMs } = this.settings;
    const leftMs = waiter.deadlineMs - this.#time.now();
    if (leftMs <= 0) {
      this.#hand(slot, this.#time.now());
      return waiter.reject(this.#timedOut(waiter, "ping"));
    }
    slot.state = "leased";
    this.#verifying.add(waiter);
    // Where nobody waits for the answer any more, it would come into the next command: the socket goes.
    waiter.onLeave = () => {
      this.#verifying.delete(waiter);
      this.sockets.destroy(slot, "ping");
    };
    let error: unknown;
    try {
      await limited(slot, clock, Math.min(pingTimeoutMs, leftMs), "ping");
    } catch (reason) {
      error = reason ?? new Error("the ping was refused without a reason");
    }
    if (waiter.settled) return;
    waiter.onLeave = undefined;
    this.#verifying.delete(waiter);
    const now = this.#time.now();
    // A ping that was cut short by the deadline says nothing of the others.
    const cutShort = error instanceof NoAnswerError && leftMs < pingTimeoutMs;
    const late = cutShort || clock.now() >= waiter.deadlineMs;
    if (error !== undefined) this.#pingFailed(slot, error, !cutShort);
    else if (slot.generation < this.#generation) void this.sockets.retire(slot, "invalidated");
    else if (this.sockets.has(slot)) {
      slot.answered(now);
      return this.#serve(waiter, slot, now);
    }
    if (late) return waiter.reject(this.#timedOut(waiter, "ping"));
    // A listener may have ended it just now.
    if (waiter.settled) return;
    // Its place is before all that wait. What came to lie there meanwhile is younger than what it was promised.
    const next = this.#idle.take(now, this.#generation);
    if (!next) this.#queue(waiter);
    else if (this.#wantsPing(next, now)) void this.#verify(next, waiter);
    else this.#serve(waiter, next, now);
  }

  #pingFailed(slot: Slot<C>, error: unknown, othersToo: boolean): void {
    this.emit("error", slot, "ping", error);
    // First, so that what is made in its place is younger.
    if (othersToo && slot.generation === this.#generation) this.#abandonOlder();
    this.sockets.destroy(slot, "ping", error);
  }

  /** Lets as many connects be under way as there are waiters, within the limit. */
  #grow(): void {
    const { length } = this.#line;
    const { open, closing } = this.sockets;
    const room = this.settings.limit - open - closing;
    if (length === 0 || room <= 0 || room <= this.#connector.connecting || this.closed) return;
    const { lastError } = this.#connector;
    // A wrong password does not become right by trying: none of those who wait has anything to wait for.
    if (open === 0 && lastError?.kind === "permanent" && this.#connector.waiting) {
      return this.#refuse(length, lastError.error);
    }
    this.#connector.want(Math.min(length, room));
  }

  #opened(connection: C, { atMs, generation }: Begun): void {
    const { recycleMs, recycleJitter, random } = this.settings;
    const now = this.#time.now();
    const recycleAtMs = atMs + recycleMs * (1 - recycleJitter * random());
    const slot = new Slot(connection, atMs, recycleAtMs, generation, now);
    connection.closed.then((error) => this.#died(slot, error), (error) => this.#died(slot, error));
    const reason = this.#warned ? undefined : recycleWarning(recycleMs, connection.idleTimeout);
    this.#warned ||= reason !== undefined;
    this.tally.opened++;
    this.tally.connectMs += now - atMs;
    this.sockets.add(slot);
    if (this.closed) return this.sockets.destroy(slot, "shutdown");
    this.emit("connect", slot);
    if (reason !== undefined) this.events.emit({ type: "warning", reason });
    // Recycled at age 0 means after one use, not before it.
    if (this.closed) void this.sockets.retire(slot, "shutdown");
    else if (generation < this.#generation) void this.sockets.retire(slot, "invalidated");
    else if (this.sockets.has(slot)) this.#hand(slot, now);
  }

  #connectFailed(error: unknown, kind: PoolErrorClass): void {
    if (!this.closed) {
      this.tally.connectFailed++;
      this.events.emit({ type: "error", reason: "connect", error });
      // A full server is no reason to give up while there are leases out: they come back.
      if (kind !== "busy" || this.sockets.open === 0) this.#refuse(1, error);
    }
    this.freed();
  }

  #refuse(count: number, error: unknown): void {
    const message = `could not connect: ${textOf(error)} (${this.picture()})`;
    for (; count > 0; count--) this.#line.shift()?.reject(new ConnectError(message, { cause: error }));
  }

  /** A lease ends: puts the session in order where it needs that. */
  takeBack(slot: Slot<C>): Promise<void> {
    const { resetOnReturn } = this.settings;
    const now = this.#now();
    this.unlease(slot, now);
    if (!this.sockets.has(slot)) return DONE;
    if (this.events.wanted("release")) this.emit("release", slot);
    try {
      const { connection } = slot;
      if (connection.inFlight > 0) throw new Error("a command was still under way on release");
      if (resetOnReturn === "full") return this.#reset(slot, "reset");
      if (resetOnReturn === "rollback" && connection.inTransaction) {
        return this.#reset(slot, "rollback");
      }
      slot.usedAtMs = slot.answeredAtMs = now;
      this.#returned(slot, now);
    } catch (error) {
      this.#resetFailed(slot, error);
    }
    return DONE;
  }

  async #reset(slot: Slot<C>, how: "reset" | "rollback"): Promise<void> {
    const { clock, resetTimeoutMs } = this.settings;
    slot.state = "checking";
    try {
      await limited(slot, clock, resetTimeoutMs, how);
    } catch (error) {
      return this.#resetFailed(slot, error);
    }
    this.emit("reset", slot);
    const now = this.#time.now();
    slot.usedAtMs = slot.answeredAtMs = now;
    if (this.sockets.has(slot)) this.#returned(slot, now);
  }

  #resetFailed(slot: Slot<C>, error: unknown): void {
    this.emit("error", slot, "reset", error);
    this.sockets.destroy(slot, "reset", error);
  }

  #returned(slot: Slot<C>, now: number): void {
    const { soft, generation, recycleAtMs } = slot;
    if (this.closed) void this.sockets.retire(slot, "shutdown");
    else if (now >= recycleAtMs) void this.sockets.retire(slot, "recycle");
    else if (soft || generation < this.#generation) void this.sockets.retire(slot, "invalidated");
    else this.#hand(slot, now);
  }

  override discard(slot: Slot<C>, error: unknown): void {
    // Without an error nothing was lost: the caller only wants it gone.
    if (error !== undefined && this.sockets.has(slot)) this.#lost(slot, error);
    super.discard(slot, error);
  }

  /** Server or network ended it. A lease on it goes on until its holder notices. */
  #died(slot: Slot<C>, error: unknown): void {
    if (!this.sockets.has(slot)) return;
    this.#idle.remove(slot);
    this.#lost(slot, error);
    this.sockets.destroy(slot, "dead", error);
  }

  #lost(slot: Slot<C>, error: unknown): void {
    // The others of its time are written off already.
    if (slot.generation < this.#generation) return;
    const now = this.#time.now();
    const failover = error !== undefined && this.settings.classify(error) === "failover";
    if (failover || now - this.#lostAtMs < OUTAGE_MS) this.#abandonOlder();
    this.#lostAtMs = now;
  }

  /** What is older than this moment is not used again: idle ones go now, without a word to who may not answer. */
  #abandonOlder(): void {
    this.#generation++;
    for (const slot of this.#idle.takeAll()) this.sockets.destroy(slot, "invalidated");
  }

  invalidateAll({ soft = false }: { soft?: boolean } = {}): void {
    this.events.emit({ type: "invalidate", reason: soft ? "all, soft" : "all" });
    if (soft) this.#generation++;
    else this.#abandonOlder();
  }

  /** A sign of life from an idle one, which is not offered meanwhile. It does not count as use. */
  async #keepAlive(slot: Slot<C>): Promise<void> {
    const { clock, pingTimeoutMs } = this.settings;
    slot.state = "checking";
    try {
      await limited(slot, clock, pingTimeoutMs, "ping");
    } catch (error) {
      return this.#pingFailed(slot, error, true);
    }
    if (!this.sockets.has(slot)) return;
    const now = this.#time.now();
    slot.answered(now);
    this.#returned(slot, now);
  }

  #suspectAll(): void {
    for (const slot of this.sockets.all) slot.suspect = true;
  }

  /** There is room: for the first in the line, or for who waits for the end. */
  protected override freed(): void {
    this.#grow();
    super.freed();
  }

  protected get connecting(): number {
    return this.#connector.connecting;
  }

  protected override async end(drainMs: number): Promise<void> {
    const error = this.closedError("was closed while waiting for a connection");
    for (const waiter of this.#verifying) waiter.reject(error);
    for (let waiter = this.#line.shift(); waiter; waiter = this.#line.shift()) waiter.reject(error);
    this.#line.close();
    this.#connector.close(error);
    for (const slot of this.#idle.takeAll()) void this.sockets.retire(slot, "shutdown");
    await this.empty(drainMs);
    this.sockets.destroyAll();
    await this.empty(this.settings.resetTimeoutMs);
    this.#idle.close();
  }

  #timedOut(waiter: Waiter<Lease<C>>, where?: PoolTimeoutError["where"]): PoolTimeoutError {
    this.tally.timedOut++;
    const { lastError, connecting } = this.#connector;
    return timeoutError({
      limitMs: waiter.deadlineMs - waiter.sinceMs,
      where: where ?? (connecting > 0 || lastError ? "connect" : "queue"),
      state: this.picture(),
      lastError,
      nested: waiter.nested,
    });
  }

  get limit(): number {
    return this.settings.limit;
  }

  get stats(): PoolStats {
    const { open, closing } = this.sockets;
    const { connecting } = this.#connector;
    const { size, keep } = this.settings;
    return {
      size,
      idle: this.#idle.length,
      leased: open - this.#idle.length,
      connecting,
      closing,
      waiting: this.#line.length + this.#verifying.size,
      overflow: Math.max(0, open + connecting - keep),
      generation: this.#generation,
      totals: this.tally.totals,
    };
  }

  status(): string {
    return statusLine(this.stats);
  }
}
