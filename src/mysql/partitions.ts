/**
 * Partitions by time of tables that the gateway makes: which there are to be, and as SQL. Pure.
 *
 * A partition is called `sluice_` and the first day that it holds, and spans a day or, for long retentions, a week, a
 * month, a quarter or a year, so that there are never more than about a hundred; of a table that is one of many, not more
 * than about twenty, since each partition is a file of its own. Before the next midnights wait some
 * empty ones; what comes later still, because a clock is wrong or nobody made new ones, goes to `sluice_later`, and
 * what is older than all of them to the oldest: no row is ever refused for its time. Days begin at midnight UTC.
 */
import { quote } from "./identifier.ts";

const LATER = "sluice_later";
const NAME = /^sluice_(\d{8}|later)$/;

const DAY_MS = 86_400_000;
/** Not more partitions than this within the retention. */
const PARTITIONS_MAX = 92, PARTITIONS_MAX_OF_MANY = 14;
/** Empty ones beyond the one that is written to. */
const AHEAD = 3;

export interface Step {
  readonly name: "day" | "week" | "month" | "quarter" | "year";
  /** Of the longest one. */
  readonly msMax: number;
}

const STEPS: readonly Step[] = [
  { name: "day", msMax: DAY_MS },
  { name: "week", msMax: 7 * DAY_MS },
  { name: "month", msMax: 31 * DAY_MS },
  { name: "quarter", msMax: 92 * DAY_MS },
  { name: "year", msMax: 366 * DAY_MS },
];

/** For how long rows are kept, and in how many tables. */
export interface Keeping {
  readonly retentionMs: number;
  readonly isOneOfMany: boolean;
}

/** What one partition spans. */
export function stepFor({ retentionMs, isOneOfMany }: Keeping): Step {
  const most = isOneOfMany ? PARTITIONS_MAX_OF_MANY : PARTITIONS_MAX;
  return STEPS.find(({ msMax }) => retentionMs / msMax <= most) ?? STEPS.at(-1)!;
}

/** Shorter retentions are a matter of deletes. */
export const isWorthPartitions = (retentionMs: number): boolean => retentionMs >= DAY_MS;

/** When the step begins that a time lies in; `further`: so many steps later. */
export function startOf({ name }: Step, ms: number, further = 0): number {
  const at = new Date(ms);
  const year = at.getUTCFullYear(), month = at.getUTCMonth();
  switch (name) {
    case "day":
      return Math.floor(ms / DAY_MS + further) * DAY_MS;
    case "week":
      // 1970 began on a Thursday.
      return (Math.floor((ms / DAY_MS + 3) / 7) + further) * 7 * DAY_MS - 3 * DAY_MS;
    case "month":
      return Date.UTC(year, month + further, 1);
    case "quarter":
      return Date.UTC(year, month - month % 3 + 3 * further, 1);
    case "year":
      return Date.UTC(year + further, 0, 1);
  }
}

const dayText = (ms: number) => new Date(ms).toISOString().slice(0, 10);

/** A partition and the time before which its rows lie: Infinity for `sluice_later`. */
export interface Partition {
  readonly name: string;
  readonly boundMs: number;
}

/** `PARTITION ... VALUES LESS THAN ...` for all from `fromMs` on until enough lie ahead of `nowMs`. */
function partitionsFrom(fromMs: number, step: Step, nowMs: number): string[] {
  const endMs = startOf(step, nowMs, AHEAD + 1);
  const made: string[] = [];
  for (let at = fromMs; at < endMs;) {
    const next = startOf(step, at, 1);
    made.push(partitionSql(`sluice_${dayText(at).replaceAll("-", "")}`, `'${dayText(next)}'`));
    at = next;
  }
  return [...made, partitionSql(LATER, "MAXVALUE")];
}

const partitionSql = (name: string, bound: string) => `PARTITION ${quote(name)} VALUES LESS THAN (${bound})`;

/** The end of `CREATE TABLE`. `oldestMs`: the oldest row that is to go into it. */
export function partitionBySql(
  time: string,
  keeping: Keeping,
  { nowMs, oldestMs }: { nowMs: number; oldestMs: number },
): string {
  const step = stepFor(keeping);
  const from = startOf(step, Math.max(nowMs - keeping.retentionMs, Math.min(nowMs, oldestMs)));
  return `\nPARTITION BY RANGE COLUMNS(${quote(time)}) (\n  ${
    partitionsFrom(from, step, nowMs).join(",\n  ")
  }\n)`;
}

/** `ALTER TABLE` that makes the partitions that are missing ahead; undefined where there are enough. */
export function addPartitionsSql(
  table: string,
  partitions: readonly Partition[],
  keeping: Keeping,
  nowMs: number,
): string | undefined {
  const step = stepFor(keeping);
  const end = Math.max(...partitions.map(({ boundMs }) => boundMs === Infinity ? -Infinity : boundMs));
  if (end >= startOf(step, nowMs, AHEAD)) return undefined;
  // After a long pause the first one spans all of it, rather than hundreds that are to be dropped at once.
  const from = Math.max(end, startOf(step, nowMs - keeping.retentionMs));
  const made = partitionsFrom(from, step, nowMs).join(", ");
  return `ALTER TABLE ${quote(table)} REORGANIZE PARTITION ${quote(LATER)} INTO (${made})`;
}

/** `ALTER TABLE` that drops what is too old as a whole; undefined where nothing is. */
export function dropPartitionsSql(
  table: string,
  partitions: readonly Partition[],
  cutoffMs: number,
): string | undefined {
  const old = partitions.filter(({ boundMs }) => boundMs <= cutoffMs).map(({ name }) => quote(name));
  return old.length > 0 ? `ALTER TABLE ${quote(table)} DROP PARTITION ${old.join(", ")}` : undefined;
}

/** A row of information_schema.partitions. */
export interface PartitionRow {
  readonly name: string | null;
  readonly method: string | null;
  readonly expression: string | null;
  /** `'2026-01-02'`, or `MAXVALUE`. */
  readonly description: string | null;
}

/**
 * The partitions of a table that was made here, in order; undefined for every other one: without partitions, or with
 * any that are called or divided differently.
 */
export function ownPartitions(rows: readonly PartitionRow[], time: string): Partition[] | undefined {
  const own = rows.length > 0 &&
    rows.every(({ name, method, expression }) =>
      NAME.test(name ?? "") && method === "RANGE COLUMNS" &&
      expression?.replaceAll("`", "") === time.replaceAll("`", "")
    );
  if (!own) return undefined;
  const partitions = rows.map(({ name, description }) => ({
    name: name!,
    boundMs: description === "MAXVALUE"
      ? Infinity
      : Date.parse(`${description!.replace(/'/g, "").slice(0, 10)}T00:00Z`),
  }));
  return partitions.some(({ name, boundMs }) => name === LATER && boundMs === Infinity)
    ? partitions
    : undefined;
}
