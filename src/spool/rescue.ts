/**
 * Copies what can be read of a damaged spool into a new one: row by row, around whatever cannot be read, naming it.
 *
 * Reads only. What it cannot know any more (who has a sequence already, which identity) it does not guess: the new
 * spool then keeps an identity of its own, under which the database's ledger is empty.
 */
import type { SQLInputValue } from "node:sqlite";
import { messageOf } from "../errors.ts";
import type { SpoolFile } from "./file.ts";
import { checksum } from "./frame.ts";
import type { Frame } from "./stored.ts";

export interface Rescued {
  readonly frames: number;
  /** What could not be read, for people. */
  readonly lost: readonly string[];
}

type Row = Record<string, SQLInputValue>;
type Losing = (what: string) => void;

/** Unreadable numbers in a row that are tried one by one; after that the steps double. */
const SINGLE_STEPS = 20_000;
const LOST_NAMED_MAX = 100;
/** Above the number of any route that was lost, so that none is given twice. */
const ROUTE_GAP = 10_000;

export function rescue(source: SpoolFile, target: SpoolFile): Rescued {
  const lost: string[] = [];
  const losing: Losing = (what) => {
    if (lost.length < LOST_NAMED_MAX) lost.push(what);
  };
  for (const table of ["meta", "memory"]) {
    for (const row of named(source, table, losing)) insert(target, table, row);
  }
  for (const table of ["route", "arrival", "dead", "lane"]) {
    for (const row of numbered(source, table, "id", losing)) insert(target, table, row);
  }
  if (lost.some((it) => it.startsWith("route:"))) {
    const { highest } = target.get<{ highest: number | null }>("SELECT max(id) AS highest FROM route")!;
    target.run(
      "INSERT INTO route (id, name) VALUES (?, ?)",
      (highest ?? 0) + ROUTE_GAP,
      `after a route that was lost`,
    );
  }
  const lanes = target.all<{ id: number; name: string }>("SELECT id, name FROM lane");
  const known = target.all(
    "SELECT value FROM meta WHERE key IN ('identity', 'highest') AND value IS NOT NULL",
  );
  if (known.length < 2 && (lanes.length > 0 || lost.length > 0)) {
    target.run("INSERT OR REPLACE INTO meta (key, value) VALUES ('identity', ?)", crypto.randomUUID());
    target.run("UPDATE lane SET written = 0");
    losing("its identity: it goes on as a new spool");
  }
  let frames = 0;
  for (const { id, name } of lanes) frames += copyQueue(source, target, id, name, losing);
  for (const id of queuesOf(source, losing)) {
    if (!lanes.some((it) => it.id === id)) losing(`the queue number ${id}, whose lane's name is lost`);
  }
  return { frames, lost };
}

function queuesOf(source: SpoolFile, losing: Losing): number[] {
  try {
    return source.all<{ name: string }>(
      "SELECT name FROM sqlite_schema WHERE name LIKE 'queue\\_%' ESCAPE '\\'",
    )
      .map((it) => Number(it.name.slice("queue_".length)));
  } catch (error) {
    losing(`the list of queues (${messageOf(error)})`);
    return [];
  }
}

function copyQueue(
  source: SpoolFile,
  target: SpoolFile,
  id: number,
  lane: string,
  losing: Losing,
): number {
  target.exec(
    `CREATE TABLE IF NOT EXISTS queue_${id} (first INTEGER PRIMARY KEY, count INTEGER, crc INTEGER, data BLOB)`,
  );
  let frames = 0;
  for (const row of numbered(source, `queue_${id}`, "first", losing)) {
    const { first, count, crc, data } = row as unknown as Frame;
    if (data instanceof Uint8Array && checksum(first, count, data) === crc) {
      insert(target, `queue_${id}`, row);
      frames++;
    } else losing(`the frame at ${first} of ${lane} (its checksum is wrong)`);
  }
  return frames;
}

function insert(target: SpoolFile, table: string, row: Row): void {
  const names = Object.keys(row);
  target.run(
    `INSERT OR REPLACE INTO ${table} (${names.join(", ")}) VALUES (${names.map(() => "?").join(", ")})`,
    ...Object.values(row),
  );
}

/** All rows of a table with a number as its key, around those that cannot be read. */
function* numbered(source: SpoolFile, table: string, key: string, losing: Losing): Generator<Row> {
  const sql = `SELECT * FROM ${table} WHERE ${key} > ? ORDER BY ${key} LIMIT 1`;
  let gap: { readonly after: number; failures: number; readonly problem: string } | null = null;
  let singleSteps = SINGLE_STEPS;
  let [failedAt, at] = [0, 0];
  while (at < Number.MAX_SAFE_INTEGER) {
    try {
      const row = source.get<Row>(sql, at);
      if (!row) break;
      if (gap && at > failedAt + 1) {
        // The last steps were long: what they leapt over may be readable.
        [at, singleSteps] = [failedAt + 1, Infinity];
        continue;
      }
      if (gap) losing(`${table}: what lies between ${gap.after} and ${row[key]} (${gap.problem})`);
      gap = null;
      at = row[key] as number;
      yield row;
    } catch (error) {
      gap ??= { after: at, failures: 0, problem: messageOf(error) };
      failedAt = at;
      at += ++gap.failures <= singleSteps ? 1 : 2 ** (gap.failures - singleSteps);
    }
  }
  if (gap) losing(`${table}: what lies after ${gap.after} (${gap.problem})`);
}

/** All rows of a table with a text as its key: from both ends, up to what cannot be read. */
function* named(source: SpoolFile, table: string, losing: Losing): Generator<Row> {
  const seen = new Set<unknown>();
  for (const [sql, end] of [["key > ? ORDER BY key", ""], ["key < ? ORDER BY key DESC", "\u{10ffff}"]]) {
    let at: SQLInputValue = end;
    try {
      for (
        let row;
        (row = source.get<Row>(`SELECT * FROM ${table} WHERE ${sql} LIMIT 1`, at));
        at = row.key
      ) {
        if (seen.has(row.key)) return;
        seen.add(row.key);
        yield row;
      }
      return;
    } catch (error) {
      losing(`${table}: what lies ${end === "" ? "after" : "before"} "${at}" (${messageOf(error)})`);
    }
  }
}
