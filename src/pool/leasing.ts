/**
 * What both kinds of pool have in common: sockets that count, counters, events, leases, a way to use a connection and to
 * wait for the end of all. Who gets a connection, and when, is theirs.
 */
import { PoolClosedError } from "./errors.ts";
import { PoolEvents } from "./events.ts";
import { watchLeak } from "./leak.ts";
import { type LeaseOwner, SlotLease } from "./lease.ts";
import { drainMsOf, type Settings, settingsOf } from "./options.ts";
import { describe } from "./report.ts";
import type { Slot } from "./slot.ts";
import { Sockets } from "./sockets.ts";
import { Tally } from "./tally.ts";
import type {
  AcquireOptions,
  ConnectionPool,
  ConnectionState,
  Lease,
  Poolable,
  PoolEvent,
  PoolEventType,
  PoolOptions,
  PoolStats,
} from "./types.ts";

export abstract class Leasing<C extends Poolable> implements ConnectionPool<C>, LeaseOwner<C> {
  protected readonly settings: Settings<C>;
  protected readonly events = new PoolEvents();
  protected readonly tally = new Tally();
  protected readonly sockets: Sockets<C>;
  #onEmpty: (() => void) | undefined;
  #end: Promise<void> | undefined;

  /** Throws a TypeError or RangeError that names the option where one is unknown or out of range. */
  constructor(options: PoolOptions<C>) {
    this.settings = settingsOf(options);
    this.sockets = new Sockets(this.settings, (slot, reason, error) => {
      this.tally.closed[reason]++;
      this.emit("close", slot, reason, error);
      this.freed();
    });
  }

  abstract acquire(options?: AcquireOptions): Promise<Lease<C>>;
  abstract takeBack(slot: Slot<C>): Promise<void>;
  abstract invalidateAll(options?: { soft?: boolean }): void;
  abstract readonly stats: PoolStats;
  abstract readonly limit: number;
  abstract status(): string;
  /** Connects under way. */
  protected abstract readonly connecting: number;
  /** Ends within `drainMs`, and with it what waits, connects or is idle. */
  protected abstract end(drainMs: number): Promise<void>;

  async use<T>(action: (connection: C) => Promise<T>, options?: AcquireOptions): Promise<T> {
    await using lease = await this.acquire(options);
    try {
      return await this.run(action, lease.connection);
    } catch (error) {
      if (this.settings.classify(error) === "failover") lease.invalidate(error);
      throw error;
    }
  }

  protected run<T>(action: (connection: C) => Promise<T>, connection: C): Promise<T> {
    return action(connection);
  }

  /** Of which "acquire" is still to be told, when whoever gets it has it: a listener may do anything. */
  protected lease(slot: Slot<C>, now: number): Lease<C> {
    slot.state = "leased";
    slot.fresh = false;
    slot.uses++;
    slot.leasedAtMs = now;
    this.tally.acquired++;
    const lease = new SlotLease(this, slot);
    const { clock, leakWarningMs } = this.settings;
    if (leakWarningMs > 0) {
      watchLeak(lease, clock, leakWarningMs, (type, acquired) => this.emit(type, slot, undefined, acquired));
    }
    return lease;
  }

  /** The end of a lease, however it ends. */
  protected unlease(slot: Slot<C>, now: number): void {
    this.tally.released++;
    this.tally.usedMs += now - slot.leasedAtMs;
  }

  discard(slot: Slot<C>, error: unknown): void {
    this.unlease(slot, this.settings.clock.now());
    if (!this.sockets.has(slot)) return;
    this.emit("invalidate", slot, "hard", error);
    this.sockets.destroy(slot, "invalidated", error);
  }

  softened(slot: Slot<C>, error: unknown): void {
    slot.soft = true;
    this.emit("invalidate", slot, "soft", error);
  }

  detach(slot: Slot<C>): void {
    this.unlease(slot, this.settings.clock.now());
    this.sockets.forget(slot);
    this.freed();
  }

  /** As it stands, for messages. */
  picture(): string {
    return describe(this.stats, this.limit);
  }

  get connections(): readonly ConnectionState[] {
    const now = this.settings.clock.now();
    return this.sockets.all.map((slot) => slot.picture(now));
  }

  on(type: PoolEventType, listener: (event: PoolEvent) => void): () => void {
    return this.events.on(type, listener);
  }

  protected emit(type: PoolEventType, slot: Slot<C>, reason?: string, error?: unknown): void {
    if (!this.events.wanted(type)) return;
    this.events.emit(slot.event(type, this.settings.clock.now(), reason, error));
  }

  /** A socket or an attempt has ended: there is room. */
  protected freed(): void {
    if (this.sockets.open + this.sockets.closing + this.connecting === 0) this.#onEmpty?.();
  }

  /** Resolves when no socket is left, or after `limitMs`. */
  protected async empty(limitMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onEmpty = resolve;
    const timer = limitMs === Infinity ? undefined : this.settings.clock.timer(limitMs, resolve);
    this.freed();
    await promise;
    timer?.cancel();
  }

  protected get closed(): boolean {
    return this.#end !== undefined;
  }

  protected closedError(when: string): PoolClosedError {
    return new PoolClosedError(`the pool ${when} (${this.picture()})`);
  }

  close({ drain = 5 }: { drain?: number } = {}): Promise<void> {
    if (this.#end) return this.#end;
    let drainMs: number;
    try {
      drainMs = drainMsOf(drain);
    } catch (error) {
      return Promise.reject(error);
    }
    // It is closed before the first of those who wait for it hears so.
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#end = promise;
    resolve(this.end(drainMs));
    return promise;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
