/**
 * No pool behind the pool's interface: a new connection for each acquire, closed on release, without a limit on their
 * number. `prePing` and `recycle` are taken and have no effect, as in SQLAlchemy: every connection is fresh.
 */
import { destroyQuietly } from "./connector.ts";
import { ConnectError, PoolClosedError, PoolTimeoutError } from "./errors.ts";
import { DONE, type LeaseOwner, SlotLease } from "./lease.ts";
import { Leasing } from "./leasing.ts";
import { acquireTimeoutMs } from "./options.ts";
import { textOf } from "./report.ts";
import { Slot } from "./slot.ts";
import type { AcquireOptions, ConnectionPool, Lease, Poolable, PoolStats } from "./types.ts";

export class NullPool<C extends Poolable> extends Leasing<C> implements ConnectionPool<C>, LeaseOwner<C> {
  readonly #stop = new AbortController();
  protected override connecting = 0;
  #end: Promise<void> | undefined;

  async acquire({ signal, timeout }: AcquireOptions = {}): Promise<Lease<C>> {
    if (this.#end) throw new PoolClosedError("the pool is closed: it gives no connections");
    signal?.throwIfAborted();
    const { clock, timeoutMs, connect } = this.settings;
    const limitMs = timeout === undefined ? timeoutMs : acquireTimeoutMs(timeout);
    const bornAtMs = clock.now();
    const late = new AbortController();
    const timer = limitMs === Infinity ? undefined : clock.timer(limitMs, () => {
      late.abort(
        new PoolTimeoutError(`no connection within ${limitMs / 1_000} s (a new one for each use)`, "connect"),
      );
    });
    const ended = AbortSignal.any([this.#stop.signal, late.signal, ...signal ? [signal] : []]);
    const given = Promise.withResolvers<never>();
    ended.addEventListener("abort", () => given.reject(ended.reason), { once: true });
    this.connecting++;
    const made = (async () => await connect({ signal: ended }))();
    try {
      return this.#lease(await Promise.race([made, given.promise]), bornAtMs);
    } catch (error) {
      if (ended.aborted) {
        made.then(destroyQuietly, () => {});
        if (ended.reason === late.signal.reason) this.tally.timedOut++;
        else this.tally.aborted++;
        throw ended.reason;
      }
      this.tally.connectFailed++;
      this.events.emit({ type: "error", reason: "connect", error });
      throw new ConnectError(`could not connect: ${textOf(error)}`, { cause: error });
    } finally {
      timer?.cancel();
      this.connecting--;
      this.freed();
    }
  }

  #lease(connection: C, bornAtMs: number): Lease<C> {
    const now = this.settings.clock.now();
    const slot = new Slot(connection, bornAtMs, Infinity, 0, now);
    connection.closed.then((error) => this.sockets.destroy(slot, "dead", error), () => {});
    slot.uses = 1;
    slot.leasedAtMs = now;
    this.sockets.add(slot);
    this.tally.opened++;
    this.tally.acquired++;
    this.tally.connectMs += now - bornAtMs;
    this.emit("connect", slot);
    this.emit("acquire", slot);
    return new SlotLease(this, slot);
  }

  takeBack(slot: Slot<C>): Promise<void> {
    if (!this.sockets.has(slot)) return DONE;
    this.tally.usedMs += this.settings.clock.now() - slot.leasedAtMs;
    this.emit("release", slot);
    let busy = true;
    try {
      busy = slot.connection.inFlight > 0;
    } catch {
      // Then it is not one to say goodbye to.
    }
    if (!busy) return this.sockets.retire(slot, "overflow");
    this.sockets.destroy(slot, "reset");
    return DONE;
  }

  discard(slot: Slot<C>, error: unknown): void {
    this.emit("invalidate", slot, "hard", error);
    this.sockets.destroy(slot, "invalidated", error);
  }

  softened(slot: Slot<C>, error: unknown): void {
    this.emit("invalidate", slot, "soft", error);
  }

  detach(slot: Slot<C>): void {
    this.sockets.forget(slot);
    this.freed();
  }

  /** Nothing is idle, and nothing is used twice. */
  invalidateAll(): void {}

  close({ drain = 5 }: { drain?: number } = {}): Promise<void> {
    return this.#end ??= this.#close(drain * 1_000);
  }

  async #close(drainMs: number): Promise<void> {
    this.#stop.abort(new PoolClosedError("the pool was closed while connecting"));
    await this.empty(drainMs);
    this.sockets.destroyAll();
  }

  get stats(): PoolStats {
    return {
      size: 0,
      idle: 0,
      leased: this.sockets.open,
      connecting: this.connecting,
      closing: this.sockets.closing,
      waiting: 0,
      overflow: this.sockets.open + this.connecting,
      generation: 0,
      totals: this.tally.totals,
    };
  }

  status(): string {
    return "NullPool";
  }
}
