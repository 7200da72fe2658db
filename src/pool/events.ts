/**
 * Who listens to the pool. A listener that throws breaks nothing, and where nobody listens no event is made.
 */
import type { PoolEvent, PoolEventType } from "./types.ts";

type Listener = (event: PoolEvent) => void;

export class PoolEvents {
  readonly #listeners = new Map<PoolEventType, Set<Listener>>();

  on(type: PoolEventType, listener: Listener): () => void {
    let all = this.#listeners.get(type);
    if (!all) this.#listeners.set(type, all = new Set());
    // A function of its own, so that one listener may be added twice and each addition is ended by itself.
    const own: Listener = (event) => listener(event);
    all.add(own);
    return () => {
      all.delete(own);
      if (all.size === 0 && this.#listeners.get(type) === all) this.#listeners.delete(type);
    };
  }

  wanted(type: PoolEventType): boolean {
    return this.#listeners.size > 0 && this.#listeners.has(type);
  }

  emit(event: PoolEvent): void {
    for (const listener of [...this.#listeners.get(event.type) ?? []]) {
      try {
        listener(event);
      } catch {
        // A listener's trouble is its own.
      }
    }
  }
}
