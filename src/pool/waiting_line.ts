/**
 * Who waits for a connection, in the order of coming. One who must wait again (its connection was dead) goes back to
 * its own place, with what is left of its time. One timer serves all deadlines.
 *
 * A waiter is settled once: by a lease, by its deadline, by its signal, or by the end of the pool; whoever settles it
 * takes it out of the line.
 */
import type { Clock, Timer } from "../clock.ts";

/** One function for all promises, whose settlers are taken from here at once: a closure for each costs more. */
// deno-lint-ignore no-explicit-any -- of any waiter
const taken: { resolve: (value: any) => void; reject: (error: unknown) => void } = {
  resolve: () => {},
  reject: () => {},
};
// deno-lint-ignore no-explicit-any -- of any waiter
function take(resolve: (value: any) => void, reject: (error: unknown) => void): void {
  taken.resolve = resolve;
  taken.reject = reject;
}

/** Its fields are plain ones, which are cheaper to write than private ones: one is made for each acquire that waits. */
export class Waiter<T> {
  readonly promise: Promise<T>;
  /** By whatever it was. */
  settled = false;
  /** Set while its connection is pinged: told when the waiter is settled by its deadline or signal meanwhile. */
  onLeave: ((error: unknown) => void) | undefined = undefined;
  /** Neighbours in the line. */
  next: Waiter<T> | undefined = undefined;
  previous: Waiter<T> | undefined = undefined;
  queued = false;
  private readonly fulfil: (value: T) => void;
  private readonly fail: (error: unknown) => void;
  private onAbort: (() => void) | undefined = undefined;

  constructor(
    readonly ticket: number,
    readonly sinceMs: number,
    readonly deadlineMs: number,
    readonly signal: AbortSignal | undefined,
    /** True inside of `use` of the same pool. */
    readonly nested: boolean,
  ) {
    this.promise = new Promise<T>(take);
    this.fulfil = taken.resolve;
    this.fail = taken.reject;
  }

  /** Calls `leave` with the signal's reason when it is aborted before the waiter is settled. */
  watch(signal: AbortSignal, leave: (reason: unknown) => void): void {
    this.onAbort = () => leave(signal.reason);
    signal.addEventListener("abort", this.onAbort, { once: true });
  }

  resolve(value: T): void {
    if (this.settled) return;
    this.end();
    this.fulfil(value);
  }

  reject(error: unknown): void {
    if (this.settled) return;
    const { onLeave } = this;
    this.end();
    this.fail(error);
    onLeave?.(error);
  }

  private end(): void {
    this.settled = true;
    this.onLeave = undefined;
    if (this.onAbort) this.signal!.removeEventListener("abort", this.onAbort);
  }
}

export class WaitingLine<T> {
  readonly #clock: Clock;
  readonly #onExpired: (waiter: Waiter<T>) => void;
  #first: Waiter<T> | undefined;
  #last: Waiter<T> | undefined;
  #timer: Timer | undefined;
  #timerDueMs = Infinity;
  length = 0;

  constructor(clock: Clock, onExpired: (waiter: Waiter<T>) => void) {
    this.#clock = clock;
    this.#onExpired = onExpired;
  }

  /** By ticket: at the end for one who comes, further ahead for one who comes back. */
  add(waiter: Waiter<T>): void {
    let before = this.#last;
    while (before && before.ticket > waiter.ticket) before = before.previous;
    const after = before ? before.next : this.#first;
    waiter.previous = before;
    waiter.next = after;
    if (before) before.next = waiter;
    else this.#first = waiter;
    if (after) after.previous = waiter;
    else this.#last = waiter;
    waiter.queued = true;
    this.length++;
    if (waiter.deadlineMs < this.#timerDueMs) this.#arm(waiter.deadlineMs);
  }

  remove(waiter: Waiter<T>): void {
    if (!waiter.queued) return;
    const { previous, next } = waiter;
    if (previous) previous.next = next;
    else this.#first = next;
    if (next) next.previous = previous;
    else this.#last = previous;
    waiter.previous = waiter.next = undefined;
    waiter.queued = false;
    this.length--;
  }

  /** The first in the line, taken out of it. */
  shift(): Waiter<T> | undefined {
    const first = this.#first;
    if (first) this.remove(first);
    return first;
  }

  /** Stops the timer. It is not stopped when the line becomes empty: the next waiter would start it again. */
  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#timerDueMs = Infinity;
  }

  #arm(dueMs: number): void {
    this.#timer?.cancel();
    this.#timerDueMs = dueMs;
    this.#timer = this.#clock.timer(dueMs - this.#clock.now(), () => this.#expire());
  }

  #expire(): void {
    this.close();
    const now = this.#clock.now();
    let nextDueMs = Infinity;
    for (let waiter = this.#first; waiter;) {
      const { next } = waiter;
      if (waiter.deadlineMs <= now) {
        this.remove(waiter);
        this.#onExpired(waiter);
      } else nextDueMs = Math.min(nextDueMs, waiter.deadlineMs);
      waiter = next;
    }
    if (nextDueMs < this.#timerDueMs) this.#arm(nextDueMs);
  }
}
