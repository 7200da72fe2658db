/**
 * How long to wait before the next try: exponential growth with full jitter, so that many clients of one
 * broken server do not come back in step (AWS Architecture Blog, "Exponential Backoff And Jitter").
 */
export interface BackoffOptions {
  /** Upper bound of the first wait, in milliseconds. @default 250 */
  firstMs?: number;
  /** Upper bound of every wait, in milliseconds. @default 30000 */
  maxMs?: number;
  /** A number in [0, 1). @default Math.random */
  random?: () => number;
}

export class Backoff {
  readonly #firstMs: number;
  readonly #maxMs: number;
  readonly #random: () => number;
  #failures = 0;

  constructor({ firstMs = 250, maxMs = 30_000, random = Math.random }: BackoffOptions = {}) {
    this.#firstMs = firstMs;
    this.#maxMs = maxMs;
    this.#random = random;
  }

  /** How many times `nextMs` was called since the last `reset`. */
  get failures(): number {
    return this.#failures;
  }

  /** The next wait in milliseconds: at least a tenth of the bound, so that a retry is never a busy loop. */
  nextMs(): number {
    const boundMs = Math.min(this.#maxMs, this.#firstMs * 2 ** Math.min(this.#failures, 30));
    this.#failures++;
    return boundMs * (0.1 + 0.9 * this.#random());
  }

  /** Call it after a success. */
  reset(): void {
    this.#failures = 0;
  }
}
