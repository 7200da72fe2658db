/**
 * The witness of a fault run, which no fault ever touches: it knows what the broker accepted, looks at what the
 * tables and the dead letters hold, and says what is missing, double, or in both.
 */
import { DatabaseSync } from "node:sqlite";
import type { Database } from "../servers/database.ts";

/** What became of accepted messages, by id. `excess`: copies beyond what the publisher itself may have sent. */
export interface Verdict {
  readonly accepted: number;
  readonly stored: number;
  readonly dead: number;
  readonly missing: readonly string[];
  readonly doubled: readonly string[];
  readonly inBoth: readonly string[];
  /** Stored or dead although they should be the other. */
  readonly misplaced: readonly string[];
}

/** What a message is meant to become. */
export type Fate = "row" | "refused" | "undecodable";

interface Known {
  readonly fate: Fate;
  readonly sends: number;
}

export class Oracle {
  readonly #accepted = new Map<string, Known>();
  /** Sent, but nobody knows whether the broker has it: may be there, once. */
  readonly #unknown = new Set<string>();
  /** Every dead letter that was seen, by its place, with its message's id: also those that were dropped since. */
  readonly #letters = new Map<string, string>();

  accept(id: string, fate: Fate, sends: number): void {
    this.#accepted.set(id, { fate, sends });
  }

  doubt(id: string): void {
    this.#unknown.add(id);
  }

  get accepted(): number {
    return this.#accepted.size;
  }

  /** Compares with the tables and the spool's dead letters. Call it when nothing is waiting any more. */
  async judge(
    database: Database,
    schema: string,
    tables: readonly string[],
    spoolPath: string,
  ): Promise<Verdict> {
    const rows = new Map<string, number>();
    for (const table of tables) {
      for (
        const { id, n } of await database.admin(
          `SELECT id, count(*) AS n FROM ${schema}.${table} GROUP BY id`,
        )
      ) {
        rows.set(String(id), (rows.get(String(id)) ?? 0) + Number(n));
      }
    }
    const dead = this.#deadIds(spoolPath);
    const missing: string[] = [];
    const doubled: string[] = [];
    const misplaced: string[] = [];
    for (const [id, { fate, sends }] of this.#accepted) {
      const copies = (rows.get(id) ?? 0) + (dead.get(id) ?? 0);
      if (copies === 0) missing.push(id);
      // A QoS 1 publisher that had to send twice has itself made two messages of one.
      if (copies > Math.max(1, sends)) doubled.push(id);
      if (copies > 0 && (fate === "row") !== rows.has(id)) misplaced.push(id);
    }
    for (const id of this.#unknown) if ((rows.get(id) ?? 0) + (dead.get(id) ?? 0) > 1) doubled.push(id);
    return {
      accepted: this.#accepted.size,
      stored: rows.size,
      dead: dead.size,
      missing,
      doubled,
      inBoth: [...rows.keys()].filter((id) => dead.has(id)),
      misplaced,
    };
  }

  #deadIds(spoolPath: string): Map<string, number> {
    using spool = new DatabaseSync(spoolPath, { readOnly: true });
    const rows = spool.prepare("SELECT lane, sequence, payload FROM dead WHERE gone = 0")
      .iterate() as Iterable<
        { lane: string; sequence: number; payload: Uint8Array }
      >;
    for (const { lane, sequence, payload } of rows) {
      const id = /"id":"([^"]+)"/.exec(new TextDecoder().decode(payload))?.[1] ?? "?";
      this.#letters.set(`${lane} ${sequence}`, id);
    }
    const counts = new Map<string, number>();
    for (const id of this.#letters.values()) counts.set(id, (counts.get(id) ?? 0) + 1);
    return counts;
  }
}

/** One sentence, or null where nothing is wrong. */
export function complaint(verdict: Verdict): string | null {
  const parts = (["missing", "doubled", "inBoth", "misplaced"] as const)
    .filter((key) => verdict[key].length > 0)
    .map((key) => `${verdict[key].length} ${key} (${verdict[key].slice(0, 5).join(", ")})`);
  return parts.length === 0 ? null : `of ${verdict.accepted} accepted messages ${parts.join(", ")}`;
}
