/**
 * The connections that nobody uses, and what happens to them while they lie: too old, idle for too long, due for a
 * sign of life. One timer serves all; taking and putting cost the same however many there are. Signs of life are asked
 * for one by one, so that the others are there for whoever comes meanwhile.
 */
import type { Timer } from "../clock.ts";
import type { Settings } from "./options.ts";
import type { Slot } from "./slot.ts";
import { STOOD_STILL_MS } from "./stopwatch.ts";
import type { CloseReason, Poolable } from "./types.ts";

export interface IdleActions<C extends Poolable> {
  /** It is out of the list and has to go. */
  retire(slot: Slot<C>, reason: CloseReason): void;
  /** It is out of the list and wants a sign of life; resolves when it has given one or is gone. */
  check(slot: Slot<C>): Promise<void>;
  /** A timer came far too late: machine or process stood still. */
  stoodStill(): void;
}

export class IdleList<C extends Poolable> {
  readonly #settings: Settings<C>;
  readonly #actions: IdleActions<C>;
  #slots: Slot<C>[] = [];
  #timer: Timer | undefined;
  #timerDueMs = Infinity;
  #checking = false;

  constructor(settings: Settings<C>, actions: IdleActions<C>) {
    this.#settings = settings;
    this.#actions = actions;
  }

  get length(): number {
    return this.#slots.length;
  }

  /** The next one by order that is in date; what is not is retired on the way. */
  take(now: number, generation: number): Slot<C> | undefined {
    if (this.#slots.length === 0) return undefined;
    while (true) {
      const slot = this.#settings.lifo ? this.#slots.pop() : this.#slots.shift();
      if (!slot) return undefined;
      const reason = this.#reasonToGo(slot, now, generation);
      if (reason === undefined) return slot;
      this.#actions.retire(slot, reason);
    }
  }

  /** Lays it down; false where there are as many as are kept. */
  put(slot: Slot<C>, now: number): boolean {
    const { keep, overflowLingerMs } = this.#settings;
    if (this.#slots.length >= keep && overflowLingerMs === 0) return false;
    slot.state = "idle";
    slot.fresh = false;
    this.#slots.push(slot);
    this.#wakeAt(this.#dueMs(slot), now);
    return true;
  }

  /** False where it is not there. */
  remove(slot: Slot<C>): boolean {
    const at = this.#slots.indexOf(slot);
    if (at >= 0) this.#slots.splice(at, 1);
    return at >= 0;
  }

  takeAll(): Slot<C>[] {
    return this.#slots.splice(0);
  }

  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#timerDueMs = Infinity;
  }

  #reasonToGo(slot: Slot<C>, now: number, generation: number): CloseReason | undefined {
    if (now >= slot.recycleAtMs) return "recycle";
    if (slot.soft || slot.generation < generation) return "invalidated";
    if (now - slot.usedAtMs >= this.#settings.idleMs || now - slot.answeredAtMs >= slot.serverIdleMs) {
      return "idle";
    }
    return undefined;
  }

  #dueMs(slot: Slot<C>): number {
    const { idleMs, keepAliveMs, keep, overflowLingerMs } = this.#settings;
    const linger = this.#slots.length > keep ? overflowLingerMs : Infinity;
    return Math.min(
      slot.recycleAtMs,
      slot.usedAtMs + Math.min(idleMs, linger),
      slot.answeredAtMs + Math.min(slot.serverIdleMs, this.#checking ? Infinity : keepAliveMs),
    );
  }

  #wakeAt(dueMs: number, now: number): void {
    if (dueMs >= this.#timerDueMs) return;
    this.#timer?.cancel();
    this.#timerDueMs = dueMs;
    this.#timer = this.#settings.clock.timer(dueMs - now, () => this.#tick());
  }

  #tick(): void {
    const { clock, keepAliveMs, keep, overflowLingerMs } = this.#settings;
    const now = clock.now();
    if (now - this.#timerDueMs > STOOD_STILL_MS) this.#actions.stoodStill();
    this.close();
    let excess = this.#slots.length - keep;
    for (const slot of [...this.#slots]) {
      const reason = this.#reasonToGo(slot, now, slot.generation) ??
        (excess > 0 && now - slot.usedAtMs >= overflowLingerMs ? "overflow" : undefined);
      if (reason === undefined && (this.#checking || now - slot.answeredAtMs < keepAliveMs)) continue;
      if (!this.remove(slot)) continue;
      excess--;
      if (reason === undefined) this.#check(slot);
      else this.#actions.retire(slot, reason);
    }
    this.#wakeForAll();
  }

  #check(slot: Slot<C>): void {
    this.#checking = true;
    const done = () => {
      this.#checking = false;
      this.#wakeForAll();
    };
    this.#actions.check(slot).then(done, done);
  }

  #wakeForAll(): void {
    const now = this.#settings.clock.now();
    for (const slot of this.#slots) this.#wakeAt(this.#dueMs(slot), now);
  }
}
