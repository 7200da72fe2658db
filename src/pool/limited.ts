/**
 * A limit for what a driver promises: it may hang, throw at once or reject; and it is given up when the time is over.
 */
import type { Clock } from "../clock.ts";

/** Rejects with an Error that names `what` after `limitMs`. What comes later is ignored. */
export function limited(
  clock: Clock,
  limitMs: number,
  what: string,
  action: () => Promise<unknown>,
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const timer = limitMs === Infinity
      ? undefined
      : clock.timer(limitMs, () => reject(new Error(`no answer to ${what} within ${limitMs} ms`)));
    let answer;
    try {
      answer = action();
    } catch (error) {
      timer?.cancel();
      return reject(error);
    }
    Promise.resolve(answer).finally(() => timer?.cancel()).then(resolve, reject);
  });
}
