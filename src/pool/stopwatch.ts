/**
 * The monotonic time for the hot path: read at most once in each millisecond of the wall clock, which costs less to read.
 *
 * It notices a machine that slept: the wall clock went on while the monotonic one stood still. A wall clock that was set
 * forward looks the same; that costs a ping and nothing else.
 */
import type { Clock } from "../clock.ts";

/** A timer that is so late, or a wall clock that is so far ahead, means that machine or process stood still. */
export const STOOD_STILL_MS = 5_000;

const DONE: Promise<void> = Promise.resolve();

export class Stopwatch {
  readonly #clock: Clock;
  readonly #onStoodStill: () => void;
  #wallMs: number;
  #nowMs: number;
  #held = false;
  readonly #letGo = () => void (this.#held = false);

  constructor(clock: Clock, onStoodStill: () => void) {
    this.#clock = clock;
    this.#onStoodStill = onStoodStill;
    this.#wallMs = clock.wallMs();
    this.#nowMs = Math.floor(clock.now());
  }

  /** Whole milliseconds, which the engine keeps without a box for each; at most two behind. */
  now(): number {
    const wallMs = this.#clock.wallMs();
    if (wallMs === this.#wallMs) return this.#nowMs;
    const nowMs = Math.floor(this.#clock.now());
    const stoodStill = wallMs - this.#wallMs - (nowMs - this.#nowMs) > STOOD_STILL_MS;
    this.#wallMs = wallMs;
    this.#nowMs = nowMs;
    if (stoodStill) this.#onStoodStill();
    return nowMs;
  }

  /** As `now`, and one reading for all that are served in a row: it holds until those are through who are next now. */
  inARow(): number {
    if (this.#held) return this.#nowMs;
    this.#held = true;
    void DONE.then(this.#letGo);
    return this.now();
  }
}
