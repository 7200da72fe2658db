/**
 * The monotonic time for the hot path: read at most once in each millisecond of the wall clock, which costs less to read.
 *
 * It notices a machine that slept: the wall clock went on while the monotonic one stood still. A wall clock that was set
 * forward looks the same; that costs a ping and nothing else.
 */
import type { Clock } from "../clock.ts";

const SLEEP_MS = 5_000;

export class Stopwatch {
  readonly #clock: Clock;
  readonly #onSlept: () => void;
  #wallMs: number;
  #nowMs: number;

  constructor(clock: Clock, onSlept: () => void) {
    this.#clock = clock;
    this.#onSlept = onSlept;
    this.#wallMs = clock.wallMs();
    this.#nowMs = clock.now();
  }

  /** Milliseconds, at most one behind. */
  now(): number {
    const wallMs = this.#clock.wallMs();
    if (wallMs === this.#wallMs) return this.#nowMs;
    const nowMs = this.#clock.now();
    const slept = wallMs - this.#wallMs - (nowMs - this.#nowMs) > SLEEP_MS;
    this.#wallMs = wallMs;
    this.#nowMs = nowMs;
    if (slept) this.#onSlept();
    return nowMs;
  }
}
