/**
 * What both kinds of pool have in common: sockets that count, counters, events, a way to use a connection and to wait
 * for the end of all. Who gets a connection, and when, is theirs.
 */
import { PoolEvents } from "./events.ts";
import { type Settings, settingsOf } from "./options.ts";
import type { Slot } from "./slot.ts";
import { Sockets } from "./sockets.ts";
import { Tally } from "./tally.ts";
import type {
  AcquireOptions,
  ConnectionState,
  Lease,
  Poolable,
  PoolEvent,
  PoolEventType,
  PoolOptions,
} from "./types.ts";

export abstract class Leasing<C extends Poolable> implements AsyncDisposable {
  protected readonly settings: Settings<C>;
  protected readonly events = new PoolEvents();
  protected readonly tally = new Tally();
  protected readonly sockets: Sockets<C>;
  #onEmpty: (() => void) | undefined;

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
  abstract close(options?: { drain?: number }): Promise<void>;
  /** Connects under way. */
  protected abstract readonly connecting: number;

  async use<T>(action: (connection: C) => Promise<T>, options?: AcquireOptions): Promise<T> {
    await using lease = await this.acquire(options);
    return await action(lease.connection);
  }

  on(type: PoolEventType, listener: (event: PoolEvent) => void): () => void {
    return this.events.on(type, listener);
  }

  get connections(): readonly ConnectionState[] {
    const now = this.settings.clock.now();
    return this.sockets.all.map((slot) => slot.picture(now));
  }

  /** A socket or an attempt has ended: there is room. */
  protected freed(): void {
    if (this.sockets.open + this.sockets.closing + this.connecting === 0) this.#onEmpty?.();
  }

  /** Resolves when no socket is left, or after `limitMs`. */
  protected async empty(limitMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onEmpty = resolve;
    const timer = this.settings.clock.timer(limitMs, resolve);
    this.freed();
    await promise;
    timer.cancel();
  }

  protected emit(type: PoolEventType, slot: Slot<C>, reason?: string, error?: unknown): void {
    if (!this.events.wanted(type)) return;
    this.events.emit(slot.event(type, this.settings.clock.now(), reason, error));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
