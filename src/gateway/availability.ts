/**
 * Whether the database answers, as all lanes together know it.
 *
 * A lane that fails waits here; the first one that succeeds wakes the others, so that a database that comes back
 * is used at once and not after everybody's own back-off. One fault line begins and one ends an outage, however
 * many lanes met it. It does not talk to the database itself.
 */
import { type Clock, sleep } from "../clock.ts";
import { BackOffError, messageOf } from "../errors.ts";
import { Backoff } from "../backoff.ts";
import type { Faults } from "../faults.ts";

const FAULT = "database";
/** A refused log-in is not hammered: servers block hosts and lock accounts (MySQL errors 1129, 3955). */
const AUTH_WAIT_MS = 30_000;

export class Availability {
  readonly #clock: Clock;
  readonly #faults: Faults;
  readonly #backoff: Backoff;
  #reachable = false;
  #succeededAt = -Infinity;
  #recovered = Promise.withResolvers<void>();
  /** When the wait in course ends: all lanes share it, so that many of them do not make it grow faster. */
  #nextTryAt = -Infinity;

  constructor({ clock, faults, backoff }: { clock: Clock; faults: Faults; backoff?: Backoff }) {
    this.#clock = clock;
    this.#faults = faults;
    this.#backoff = backoff ?? new Backoff({ firstMs: 250, maxMs: 15_000 });
  }

  /** False until the first success. */
  get reachable(): boolean {
    return this.#reachable;
  }

  /** Resolves when the database answers; rejects with the signal's reason. */
  async reached(signal: AbortSignal): Promise<void> {
    const aborted = Promise.withResolvers<void>();
    const onAbort = () => aborted.resolve();
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      while (!this.#reachable && !signal.aborted) {
        await Promise.race([this.#recovered.promise, aborted.promise]);
      }
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
    signal.throwIfAborted();
  }

  /** Whether a statement of anybody's went through since then (on the clock's `now`). */
  succeededSince(ms: number): boolean {
    return this.#succeededAt > ms;
  }

  /** A statement went through. `detail` says how much waited, for the line that ends the outage. */
  succeeded(detail: () => string): void {
    this.#succeededAt = this.#clock.now();
    if (this.#reachable) return;
    this.#reachable = true;
    this.#backoff.reset();
    this.#faults.end(FAULT, { detail: detail() });
    this.#recovered.resolve();
    this.#recovered = Promise.withResolvers();
  }

  /** A statement failed for a reason that concerns the whole database: waits until it is worth trying again. */
  async failed(error: unknown, signal: AbortSignal): Promise<void> {
    const auth = error instanceof BackOffError && error.reason === "auth";
    this.#reachable = false;
    this.#faults.begin(FAULT, messageOf(error), {
      hint: error instanceof BackOffError ? error.hint : undefined,
    });
    const wait = new AbortController();
    const both = AbortSignal.any([signal, wait.signal]);
    const now = this.#clock.now();
    if (this.#nextTryAt <= now) this.#nextTryAt = now + (auth ? AUTH_WAIT_MS : this.#backoff.nextMs());
    const delayMs = this.#nextTryAt - now;
    try {
      await Promise.race([sleep(delayMs, both, this.#clock).catch(() => {}), this.#recovered.promise]);
    } finally {
      wait.abort();
    }
    signal.throwIfAborted();
  }
}
