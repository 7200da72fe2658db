/**
 * Waiting in tests: for a condition with a deadline, never for a time.
 *
 * Promises to return as soon as the condition holds (checked every few milliseconds) and to fail with a sentence
 * that says what was awaited. It does not prove that something never happens.
 */

export interface WaitOptions {
  /** What is awaited, for the failure message: "the broker to answer". */
  readonly what: string;
  /** How long to wait, in milliseconds. Default 20000. */
  readonly timeoutMs?: number;
  /** Pause between two looks, in milliseconds. Default 10. */
  readonly intervalMs?: number;
}

/**
 * Returns the first truthy value of `condition`. An error that `condition` throws counts as "not yet" and becomes
 * the cause of the failure.
 */
export async function waitFor<T>(
  condition: () => T | Promise<T>,
  { what, timeoutMs = 20_000, intervalMs = 10 }: WaitOptions,
): Promise<NonNullable<T>> {
  const deadline = performance.now() + timeoutMs;
  let cause: unknown;
  let last: unknown;
  while (true) {
    try {
      const value = await condition();
      if (value) return value as NonNullable<T>;
      last = value;
      cause = undefined;
    } catch (error) {
      cause = error;
    }
    if (performance.now() >= deadline) {
      const saw = cause === undefined ? `last seen: ${Deno.inspect(last)}` : `last error: ${cause}`;
      throw new Error(`waited ${timeoutMs} ms in vain for ${what}; ${saw}`, { cause });
    }
    await new Promise((resolve) => setTimeout(resolve, intervalMs));
  }
}
