/**
 * Copies what can be read of a damaged spool into a new one: row by row, around whatever cannot be read, naming it.
 *
 * Reads only. Where it cannot know any more which sequences were given out it leaves a gap that is larger than any
 * doubt. Where the identity is nowhere to be found the new spool has one of its own, under which the database's ledger
 * is empty.
 */
import type { SQLInputValue } from "node:sqlite";
import { messageOf } from "../errors.ts";
import type { SpoolFile } from "./file.ts";
import { checksum } from "./frame.ts";
import { isWholeRow, Journal } from "./journal.ts";
import { createQueue } from "./queue.ts";
import type { Frame } from "./stored.ts";

export interface Rescued {
  readonly frames: number;
  /** What could not be read, for people. */
  readonly lost: readonly string[];
}

type Row = Record<string, SQLInputValue>;
type Losing = (what: string) => void;

const SQLITE_CONSTRAINT = 19;
const SQLITE_MISMATCH = 20;
/** Keys in a row that are tried one by one where nothing can be read; after that the steps double. */
const SINGLE_STEPS = 5_000;
const LOST_NAMED_MAX = 100;
/** One transaction for each frame would take hours on a card, one for all of them memory. */
const FRAMES_AT_ONCE = 1_000;
/** Above every sequence that was given out, where the highest of them is not known. */
const SEQUENCE_GAP = 1_000_000_000;
/** Above the number of any route that was lost, so that none is given twice. */
const ROUTE_GAP = 10_000;

/** `identity`: the spool's, where it is known from elsewhere. */
export function rescue(source: SpoolFile, target: SpoolFile, identity?: string): Rescued {
  const lost: string[] = [];
  const losing: Losing = (what) => {
    if (lost.length < LOST_NAMED_MAX) lost.push(what);
  };
  target.begin();
  target.run("DELETE FROM meta");
  for (const table of ["meta", "memory"]) {
    for (const row of named(source, table, losing)) insert(target, table, row, losing);
  }
  for (const table of ["route", "journal", "dead", "lane"]) {
    for (const row of numbered(source, table, "id", losing)) {
      if (table !== "journal" || isWholeRow(row)) insert(target, table, row, losing);
      else losing(`journal: row ${row.id} (its checksum is wrong)`);
    }
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
  let frames = 0;
  for (const { id, name } of lanes) frames += copyQueue(source, target, id, name, losing);
  for (const id of queuesOf(source, losing)) {
    if (!lanes.some((it) => it.id === id)) losing(`the queue number ${id}, whose lane's name is lost`);
  }
  restore(target, lanes, { identity, losing, complete: !lost.some((it) => it.startsWith("journal:")) });
  target.commit();
  return { frames, lost };
}

/** What the gateway stood at, as far as it is known. Deliveries that were settled may wait again: the ledger knows them. */
function restore(
  target: SpoolFile,
  lanes: readonly { readonly id: number }[],
  { identity, losing, complete }: { identity?: string; losing: Losing; complete: boolean },
): void {
  const known = target.get<{ value: string }>(
    "SELECT value FROM meta WHERE key = 'identity' AND value IS NOT NULL",
  );
  const journal = new Journal(target);
  const positions = journal.load();
  for (const [id, settled, written, kept] of positions.values()) {
    target.run("UPDATE lane SET settled = ?, written = ?, kept = ? WHERE id = ?", settled, written, kept, id);
  }
  // What waits is counted anew, with the dead letters among it.
  const waiting = target.run(
    `UPDATE dead SET counted = 0 WHERE counted = 1 AND gone = 0
     AND sequence > (SELECT settled FROM lane WHERE name = dead.lane)`,
  );
  journal.totals.dead -= Math.min(waiting, journal.totals.dead);
  target.run("UPDATE lane SET counted = settled, waiting = 0");
  if (!complete) journal.highest = Math.max(journal.highest, highestIn(target, lanes)) + SEQUENCE_GAP;
  journal.sumUp();
  if (known) return;
  const found = identity !== undefined && lanes.length > 0;
  target.run(
    "INSERT OR REPLACE INTO meta (key, value) VALUES ('identity', ?)",
    found ? identity : crypto.randomUUID(),
  );
  if (found) return;
  target.run("UPDATE lane SET written = 0 WHERE identity IS NULL");
  losing("its identity: it goes on as a new spool");
}

/** The highest sequence that is in sight. */
function highestIn(target: SpoolFile, lanes: readonly { readonly id: number }[]): number {
  const ends = lanes.map(({ id }) => `SELECT max(first + count - 1) AS n FROM queue_${id}`);
  const tops = [...ends, "SELECT max(sequence) AS n FROM dead", "SELECT max(settled) AS n FROM lane"];
  return Math.max(...tops.map((sql) => target.get<{ n: number | null }>(sql)!.n ?? 0));
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
  createQueue(target, id);
  let frames = 0;
  for (const row of numbered(source, `queue_${id}`, "first", losing)) {
    const frame = row as unknown as Frame;
    if (frame.data instanceof Uint8Array && checksum(frame) === frame.crc) {
      insert(target, `queue_${id}`, row, losing);
      if (++frames % FRAMES_AT_ONCE === 0) target.commit();
      target.begin();
    } else losing(`the frame at ${frame.first} of ${lane} (its checksum is wrong)`);
  }
  return frames;
}

/** A row that a damaged value keeps out is lost like one that cannot be read. */
function insert(target: SpoolFile, table: string, row: Row, losing: Losing): void {
  const names = Object.keys(row).map((it) => `"${it}"`);
  try {
    target.run(
      `INSERT OR REPLACE INTO ${table} (${names.join(", ")}) VALUES (${names.map(() => "?").join(", ")})`,
      ...Object.values(row),
    );
  } catch (error) {
    const { errcode = 0 } = error as { errcode?: number };
    if (![SQLITE_CONSTRAINT, SQLITE_MISMATCH].includes(errcode & 255)) throw error;
    losing(`${table}: the row ${row.id ?? row.first ?? row.key} (${messageOf(error)})`);
  }
}

/** All rows of a table with a number as its key, around those that cannot be read. */
function* numbered(source: SpoolFile, table: string, key: string, losing: Losing): Generator<Row> {
  const sql = `SELECT * FROM ${table} WHERE ${key} > ? ORDER BY ${key} LIMIT 1`;
  for (let at = 0;;) {
    const found = nextRow(source, sql, key, at);
    if (found.problem !== null) {
      const end = found.row ? `between ${at} and ${found.row[key]}` : `after ${at}`;
      losing(`${table}: what lies ${end} (${found.problem})`);
    }
    if (!found.row) return;
    at = found.row[key] as number;
    yield found.row;
  }
}

/**
 * The next row that can be read after the key `after`, and why those before it cannot, where there are any: by single
 * steps, then by steps that double, and from where that leads back to the first one of what can be read again.
 */
function nextRow(
  source: SpoolFile,
  sql: string,
  key: string,
  after: number,
): { row?: Row; problem: string | null } {
  let problem: string | null = null;
  let failedAt = after;
  const look = (at: number): { row?: Row } | null => {
    try {
      const row = source.get<Row>(sql, at);
      // Without this a damaged page could lead round in a circle.
      if (row && !(Number(row[key]) > at)) throw new Error("its rows are out of order");
      return { row };
    } catch (error) {
      problem ??= messageOf(error);
      failedAt = Math.max(failedAt, at);
      return null;
    }
  };
  let found = look(after);
  let at = after;
  for (let step = 1, steps = 0; !found; step = ++steps < SINGLE_STEPS ? 1 : step * 2) {
    at += step;
    if (at >= Number.MAX_SAFE_INTEGER) return { problem };
    found = look(at);
  }
  while (at - failedAt > 1) {
    const middle = Math.floor((failedAt + at) / 2);
    const nearer = look(middle);
    if (nearer) [found, at] = [nearer, middle];
  }
  return { row: found.row, problem };
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
