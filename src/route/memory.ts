/**
 * What a route remembers from one message to the next, over restarts: texts by key, each route with keys of its own,
 * because lanes stand at different messages.
 *
 * A change is seen at once; `changes` hands over what is to be written down with the batch.
 */
import type { Memory } from "../decode/mod.ts";

export class RouteMemories {
  readonly #known: Map<string, string>;
  #changes = new Map<string, string | null>();

  constructor(known: ReadonlyMap<string, string> = new Map()) {
    this.#known = new Map(known);
  }

  /** The memory of one route. */
  of(route: string): Memory {
    return {
      get: (key) => this.#known.get(`${route}\n${key}`),
      set: (key, value) => {
        this.#known.set(`${route}\n${key}`, value);
        this.#changes.set(`${route}\n${key}`, value);
      },
    };
  }

  /** What was changed since the last call. */
  changes(): [key: string, value: string | null][] {
    const changes = [...this.#changes];
    this.#changes = new Map();
    return changes;
  }
}
