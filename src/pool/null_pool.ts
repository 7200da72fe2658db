/**
 * No pool behind the pool's interface: a new connection for each acquire, closed on release, without a limit on their
 * number. `prePing` and `recycle` are taken and have no effect, as in SQLAlchemy: every connection is fresh. So are the
 * other options that speak of kept connections, so that one program can be configured with either kind.
 */
import { Attempt, destroyQuietly } from "./attempt.ts";
import { ConnectError, PoolTimeoutError } from "./errors.ts";
import { DONE } from "./lease.ts";
import { Leasing } from "./leasing.ts";
import { acquireTimeoutMs } from "./options.ts";
import { textOf } from "./report.ts";
import { Slot } from "./slot.ts";
import type { AcquireOptions, Lease, Poolable, PoolStats } from "./types.ts";

export class NullPool<C extends Poolable> extends Leasing<C> {
  readonly limit = Infinity;
  readonly #attempts = new Set<Attempt<C>>();

  async acquire({ signal, timeout }: AcquireOptions = {}): Promise<Lease<C>> {
    if (this.closed) throw this.closedError("is closed: it gives no connections");
    signal?.throwIfAborted();
    const { clock, timeoutMs, connect } = this.settings;
    const limitMs = timeout === undefined ? timeoutMs : acquireTimeoutMs(timeout);
    const bornAtMs = clock.now();
    const attempt = new Attempt<C>();
    const onAbort = () => {
      this.tally.aborted++;
      attempt.end(signal!.reason);
    };
    const onExpired = () => {
      this.tally.timedOut++;
      const message = `no connection within ${limitMs / 1_000} s, a new one for each use (${this.picture()})`;
      attempt.end(new PoolTimeoutError(message, "connect"));
    };
    const timer = limitMs === Infinity ? undefined : clock.timer(limitMs, onExpired);
    signal?.addEventListener("abort", onAbort, { once: true });
    this.#attempts.add(attempt);
    let slot: Slot<C>;
    try {
      slot = this.#opened(await attempt.made(connect), attempt, bornAtMs);
    } catch (error) {
      this.#attempts.delete(attempt);
      this.freed();
      if (attempt.ended) throw error;
      this.tally.connectFailed++;
      this.events.emit({ type: "error", reason: "connect", error });
      throw new ConnectError(`could not connect: ${textOf(error)} (${this.picture()})`, { cause: error });
    } finally {
      timer?.cancel();
      signal?.removeEventListener("abort", onAbort);
    }
    const lease = this.lease(slot, clock.now());
    this.emit("connect", slot);
    this.emit("acquire", slot);
    return lease;
  }

  #opened(connection: C, attempt: Attempt<C>, bornAtMs: number): Slot<C> {
    const now = this.settings.clock.now();
    try {
      attempt.throwIfEnded();
      const slot = new Slot(connection, bornAtMs, Infinity, 0, now);
      const died = (error: unknown) => this.sockets.destroy(slot, "dead", error);
      connection.closed.then(died, died);
      this.#attempts.delete(attempt);
      this.sockets.add(slot);
      this.tally.opened++;
      this.tally.connectMs += now - bornAtMs;
      return slot;
    } catch (error) {
      destroyQuietly(connection);
      throw error;
    }
  }

  takeBack(slot: Slot<C>): Promise<void> {
    this.unlease(slot, this.settings.clock.now());
    if (!this.sockets.has(slot)) return DONE;
    this.emit("release", slot);
    let busy = true;
    try {
      busy = slot.connection.inFlight > 0;
    } catch {
      // Then it is not one to say goodbye to.
    }
    if (!busy) return this.sockets.retire(slot, slot.soft ? "invalidated" : "overflow");
    this.sockets.destroy(slot, "reset");
    return DONE;
  }

  /** Nothing is idle, and nothing is used twice. */
  invalidateAll({ soft = false }: { soft?: boolean } = {}): void {
    this.events.emit({ type: "invalidate", reason: soft ? "all, soft" : "all" });
  }

  protected override async end(drainMs: number): Promise<void> {
    const error = this.closedError("was closed while connecting");
    for (const attempt of [...this.#attempts]) attempt.end(error);
    await this.empty(drainMs);
    this.sockets.destroyAll();
    await this.empty(this.settings.resetTimeoutMs);
  }

  protected get connecting(): number {
    return this.#attempts.size;
  }

  get stats(): PoolStats {
    const { open, closing } = this.sockets;
    return {
      size: 0,
      idle: 0,
      leased: open,
      connecting: this.connecting,
      closing,
      waiting: 0,
      overflow: open + this.connecting,
      generation: 0,
      totals: this.tally.totals,
    };
  }

  status(): string {
    return "NullPool";
  }
}
