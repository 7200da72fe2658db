/**
 * What routes remember from one message to the next, over restarts: texts by key, each route with keys of its own,
 * because lanes stand at different messages.
 *
 * A change is seen at once; `changes` hands over what is to be written down with the batch. Each of the three sections
 * is bounded: what was not used for longest is forgotten first, so that neither devices that come and go nor topics
 * that are made up can fill the disk.
 */
import type { MemoryChanges } from "../contracts.ts";
import type { Memory } from "../decode/mod.ts";
import { HOURS } from "./hours.ts";

const KEYS_MAX = 10_000;

type Changes = Map<string, string | null>;

/** Texts by key, in the order of their last use. */
class Section {
  readonly #known = new Map<string, string>();
  readonly #changes: Changes;
  readonly #keysMax: number;

  constructor(changes: Changes, keysMax: number) {
    this.#changes = changes;
    this.#keysMax = keysMax;
  }

  get keys(): Iterable<string> {
    return this.#known.keys();
  }

  get(key: string): string | undefined {
    const value = this.#known.get(key);
    if (value !== undefined) {
      this.#known.delete(key);
      this.#known.set(key, value);
    }
    return value;
  }

  set(key: string, value: string): void {
    this.restore(key, value);
    this.#changes.set(key, value);
  }

  delete(key: string): void {
    this.#known.delete(key);
    this.#changes.set(key, null);
  }

  /** As `delete`, where the caller writes it down. */
  drop(key: string): void {
    this.#known.delete(key);
  }

  /** As `set`, of what is written down already. */
  restore(key: string, value: string): void {
    this.#known.delete(key);
    this.#known.set(key, value);
    if (this.#known.size <= this.#keysMax) return;
    const [oldest] = this.#known.keys();
    this.delete(oldest);
  }

  /** The keys that begin with `prefix`, without it. */
  below(prefix: string): Memory {
    return {
      get: (key) => this.get(prefix + key),
      set: (key, value) => this.set(prefix + key, value),
    };
  }
}

/** No route is called so: an identity has an arrow in it. */
const FILTERS = "keep\n", TABLES = "table\n";

export class RouteMemories {
  readonly #changes: Changes = new Map();
  readonly #decoders: Section;
  readonly #filters: Section;
  readonly #tables: Section;

  constructor(known: ReadonlyMap<string, string> = new Map(), keysMax: number = KEYS_MAX) {
    const section = () => new Section(this.#changes, keysMax);
    [this.#decoders, this.#filters, this.#tables] = [section(), section(), section()];
    for (const [key, value] of known) {
      if (key.startsWith(HOURS)) continue;
      const owner = key.startsWith(FILTERS)
        ? this.#filters
        : key.startsWith(TABLES)
        ? this.#tables
        : this.#decoders;
      owner.restore(key, value);
    }
  }

  /** What the decoder of a route remembers. */
  of(route: string): Memory {
    return this.#decoders.below(`${route}\n`);
  }

  /** What the filters of a route remember. */
  filtersOf(route: string): Memory {
    return this.#filters.below(`${FILTERS}${route}\n`);
  }

  /**
   * The changes without what filters took for stored though the database refused it: that is forgotten, and whatever
   * comes next is stored. `isRefused` is asked of what a filter remembers.
   */
  withoutRefused(changes: MemoryChanges, isRefused: (value: string) => boolean): MemoryChanges {
    return changes.map(([key, value]) => {
      if (value === null || !key.startsWith(FILTERS) || !isRefused(value)) return [key, value];
      this.#filters.drop(key);
      return [key, null];
    });
  }

  /** Tables that were made from a name with placeholders. */
  tablesOf(template: string): Set<string> {
    const prefix = `${TABLES}${template}\n`;
    return new Set(
      [...this.#tables.keys].filter((it) => it.startsWith(prefix)).map((it) => it.slice(prefix.length)),
    );
  }

  noteTable(template: string, table: string): void {
    this.#tables.set(`${TABLES}${template}\n${table}`, "");
  }

  /** What was changed since the last call. */
  changes(): [key: string, value: string | null][] {
    const changes = [...this.#changes];
    this.#changes.clear();
    return changes;
  }
}
