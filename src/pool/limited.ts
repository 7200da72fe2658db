/**
 * A limit for what a driver promises: it may hang, throw at once or reject; and it is given up when the time is over,
 * or when the connection is gone.
 */
import type { Clock } from "../clock.ts";
import type { Slot } from "./slot.ts";
import type { Poolable } from "./types.ts";

/** The limit is over. */
export class NoAnswerError extends Error {
  override name = "NoAnswerError";
}

/** Asks the connection for something. Rejects after `limitMs`, and when the slot is destroyed; what comes later is ignored. */
export function limited<C extends Poolable>(
  slot: Slot<C>,
  clock: Clock,
  limitMs: number,
  command: "ping" | "rollback" | "reset" | "close",
): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = (settle: () => void) => {
      timer?.cancel();
      slot.cancel = undefined;
      settle();
    };
    const fail = (error: unknown) => end(() => reject(error));
    const timer = limitMs === Infinity
      ? undefined
      : clock.timer(limitMs, () => fail(new NoAnswerError(`no answer to ${command} within ${limitMs} ms`)));
    slot.cancel = () => fail(new Error(`the connection was closed during ${command}`));
    try {
      Promise.resolve(slot.connection[command]()).then(() => end(resolve), fail);
    } catch (error) {
      fail(error);
    }
  });
}
