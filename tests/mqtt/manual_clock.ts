/**
 * A clock that stands still until a test moves it. Timers fire in order of their due time, inside of `advance`.
 */
import type { Clock, Timer } from "../../src/clock.ts";

export class ManualClock implements Clock {
  #nowMs = 0;
  #timers: { dueMs: number; callback: () => void }[] = [];

  now(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return 1_700_000_000_000 + this.#nowMs;
  }

  timer(delayMs: number, callback: () => void): Timer {
    const timer = { dueMs: this.#nowMs + Math.max(0, delayMs), callback };
    this.#timers.push(timer);
    return { cancel: () => void (this.#timers = this.#timers.filter((each) => each !== timer)) };
  }

  /** Timers that wait. */
  get waiting(): number {
    return this.#timers.length;
  }

  /** Moves on and fires what is due on the way. */
  advance(ms: number): void {
    const endMs = this.#nowMs + ms;
    while (true) {
      const due = this.#timers.filter(({ dueMs }) => dueMs <= endMs).sort((a, b) => a.dueMs - b.dueMs)[0];
      if (!due) break;
      this.#timers = this.#timers.filter((each) => each !== due);
      this.#nowMs = Math.max(this.#nowMs, due.dueMs);
      due.callback();
    }
    this.#nowMs = endMs;
  }

  /** Moves on without firing anything, as a process that was frozen; what is overdue fires in the next `advance`. */
  freeze(ms: number): void {
    this.#nowMs += ms;
  }
}
