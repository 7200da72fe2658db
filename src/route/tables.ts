/**
 * The tables of routes with `{name}` in the table's name, and how many of them there may be, so that topics that are
 * made up or mistyped cannot fill the database with tables.
 *
 * Which tables there are is remembered over restarts. What would need one too many goes to a lane of its own, where it
 * becomes a dead letter: nothing is lost, and it can be replayed.
 */
import type { RouteMemories } from "./memory.ts";

const TABLES_MAX = 256;
const NAME_LENGTH_MAX = 64;

/** Told of a message that would need a table too many, in one sentence. */
export type OnTablesFull = (template: string, sentence: string) => void;

export class Tables {
  readonly #memories: RouteMemories;
  readonly #max: number;
  readonly #onFull: OnTablesFull;
  readonly #byTemplate = new Map<string, Set<string>>();
  readonly #confirmed = new Set<string>();

  constructor(memories: RouteMemories, max: number = TABLES_MAX, onFull: OnTablesFull = () => {}) {
    this.#memories = memories;
    this.#max = max;
    this.#onFull = onFull;
  }

  /** The tables of a name, as far as they are known. */
  of(template: string): Iterable<string> {
    return template.includes("{") ? this.#of(template) : [template];
  }

  /** The lane of a table: the table's name, or, where it would be one too many, the name with its placeholders. */
  laneOf(template: string, table: string): string {
    if (!template.includes("{")) return table;
    const tables = this.#of(template);
    if (!tables.has(table) && tables.size >= this.#max) {
      this.#onFull(
        template,
        `"${template}" has made ${this.#max} tables, which is the limit: messages for further ones are dead letters`,
      );
      return template.slice(0, NAME_LENGTH_MAX);
    }
    this.#add(template, table);
    return table;
  }

  /**
   * A table that there is, whatever the limit says. It is written down with the first batch for it, too: what was noted
   * with another table's batch would be forgotten if that one was not settled before a crash.
   */
  confirm(template: string, table: string): void {
    if (!template.includes("{") || this.#confirmed.has(table)) return;
    this.#confirmed.add(table);
    this.#of(template).add(table);
    this.#memories.noteTable(template, table);
  }

  #add(template: string, table: string): void {
    const tables = this.#of(template);
    if (tables.has(table)) return;
    tables.add(table);
    this.#memories.noteTable(template, table);
  }

  /** Why a message has no table. */
  refusal(template: string, table: string): string {
    return `the table ${table} would be one too many: "${template}" has ${this.#max} already, which is the limit; ` +
      `use one table with a column for what differs`;
  }

  #of(template: string): Set<string> {
    let tables = this.#byTemplate.get(template);
    if (!tables) this.#byTemplate.set(template, tables = this.#memories.tablesOf(template));
    return tables;
  }
}

/** The table's name with its placeholders filled in, as a name that needs no thought: letters, digits, _ $ and -. */
export function tableName(template: string, names: readonly string[], levels: readonly string[]): string {
  if (!template.includes("{")) return template;
  return template.replace(
    /\{(\w+)\}/g,
    (_, name: string) => levels[names.indexOf(name)].replace(/[^\w$-]/g, "_"),
  ).slice(0, NAME_LENGTH_MAX);
}
