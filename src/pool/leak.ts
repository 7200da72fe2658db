/**
 * Tells of a lease that is held for too long, with the place where it was acquired, and of its return if it comes.
 */
import type { Clock } from "../clock.ts";
import type { SlotLease } from "./lease.ts";
import type { Poolable } from "./types.ts";

export function watchLeak<C extends Poolable>(
  lease: SlotLease<C>,
  clock: Clock,
  afterMs: number,
  tell: (type: "leak" | "leak-returned", acquired?: Error) => void,
): void {
  const acquired = new Error(`a connection was acquired here and not released within ${afterMs / 1_000} s`);
  let told = false;
  const timer = clock.timer(afterMs, () => {
    told = true;
    tell("leak", acquired);
  });
  lease.onEnd = () => {
    timer.cancel();
    if (told) tell("leak-returned");
  };
}
