/**
 * Removes rows that are too old. In a table that the gateway has made (one that has its partitions) by dropping whole
 * partitions, and by making new ones ahead; in every other by small deletes.
 *
 * A row lives at least as long as the retention says; in partitions up to one partition's span longer. A row that comes
 * when its partition has gone is stored in the oldest that there is, and deleted when it is older by that span.
 */
import { messageOf, StallError } from "../errors.ts";
import type { TableDesign } from "../message.ts";
import { errnoOf } from "./classify.ts";
import type { MysqlConnection } from "./connect.ts";
import { quote } from "./identifier.ts";
import { addPartitionsSql, dropPartitionsSql, ownPartitions, type Partition, stepFor } from "./partitions.ts";
import { factOf, isIndexed, tableFacts } from "./table_facts.ts";
import { STEP_TIMEOUT_MS, type Upkeep } from "./upkeep.ts";

/** Rows of one delete: done in a few milliseconds, so that nobody waits for its locks. */
const DELETE_MAX = 500;
/** Who writes to the table waits behind an ALTER TABLE that waits. The lanes' sessions have 5. */
const ALTER_WAIT_SEC = 1, LANE_WAIT_SEC = 5;

const RACES_MAX = 8;
/**
 * The partitions are not as they were read: another gateway, or a statement that was cut off and went on, has changed
 * them meanwhile. Same name, list of names, bounds; unknown partition; no partitions any more.
 */
const CHANGED_MEANWHILE: readonly number[] = [1517, 1507, 1508, 1493, 1520, 1735, 1505];

/** `cutoffMs`: what is older goes. True where there is more to remove, but this table has had its turn. */
export async function removeOldRows(upkeep: Upkeep, cutoffMs: number): Promise<boolean> {
  const { facts, time, design } = upkeep;
  const partitions = ownPartitions(facts.partitions, time);
  if (!partitions) return await deleteBefore(upkeep, cutoffMs);
  await rearrange(upkeep, partitions, cutoffMs, RACES_MAX);
  return await deleteBefore(upkeep, cutoffMs - stepFor(keepingOf(design)).msMax);
}

const keepingOf = ({ retentionMs, isOneOfMany }: TableDesign) => ({ retentionMs: retentionMs!, isOneOfMany });

/** `races`: how often it begins anew because somebody else was faster. */
async function rearrange(
  upkeep: Upkeep,
  partitions: readonly Partition[],
  cutoffMs: number,
  races: number,
): Promise<void> {
  const { table, time, nowMs, design, step } = upkeep;
  const statements = [
    addPartitionsSql(table, partitions, keepingOf(design), nowMs),
    dropPartitionsSql(table, partitions, cutoffMs),
  ];
  try {
    for (const sql of statements) if (sql !== undefined) await step((connection) => alter(connection, sql));
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === null) throw error;
    if (races > 0 && CHANGED_MEANWHILE.includes(errno)) {
      const now = ownPartitions((await step((it) => tableFacts(it, table)))?.partitions ?? [], time);
      return now && await rearrange(upkeep, now, cutoffMs, races - 1);
    }
    throw new StallError(`the partitions of table ${table} cannot be changed: ${messageOf(error)}`, {
      lane: table,
      errno,
      cause: error,
      hint: "rows are stored all the same, old ones stay until it can be done",
    });
  }
}

async function alter(connection: MysqlConnection, sql: string): Promise<void> {
  await connection.query(`SET SESSION lock_wait_timeout = ${ALTER_WAIT_SEC}`);
  try {
    await connection.query(sql);
  } finally {
    await connection.query(`SET SESSION lock_wait_timeout = ${LANE_WAIT_SEC}`).catch(() => {});
  }
}

async function deleteBefore(upkeep: Upkeep, beforeMs: number): Promise<boolean> {
  const { table, facts, time } = upkeep;
  // Without an index, sorting would read the whole table before the first row goes.
  const order = isIndexed(facts, time) ? ` ORDER BY ${quote(time)}` : "";
  const sql = `DELETE FROM ${quote(table)} WHERE ${quote(time)} < ?${order} LIMIT ${DELETE_MAX}`;
  const before = timeText(beforeMs, factOf(facts, time)?.type === "date");
  while (true) {
    const { affectedRows } = await upkeep.step(async (connection) => {
      // So that no more is locked than what goes; for this one transaction only.
      await connection.query("SET TRANSACTION ISOLATION LEVEL READ COMMITTED");
      return await connection.execute(sql, [before], STEP_TIMEOUT_MS);
    });
    if (affectedRows < DELETE_MAX) return false;
    if (upkeep.isOver()) return true;
    await upkeep.pause();
  }
}

/** A date alone means all of its day, which is not too old before it is over. */
function timeText(ms: number, isDate: boolean): string {
  // DATETIME begins with the year 1000, and nothing is older.
  const text = new Date(Math.max(ms, -30_000_000_000_000)).toISOString().slice(0, 23).replace("T", " ");
  return isDate ? text.slice(0, 10) : text;
}
