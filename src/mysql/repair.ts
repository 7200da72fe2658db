/**
 * Makes what rows lack in the database, where that is allowed: the ledger, their tables, columns of their tables.
 *
 * DDL commits by itself, so it runs between transactions. Another lane, or another gateway, may be doing the same at
 * the same moment: what is there by then is no error.
 */
import { messageOf } from "../errors.ts";
import type { Row, RowColumn, Shape } from "../message.ts";
import { errnoOf } from "./classify.ts";
import type { MysqlConnection } from "./connect.ts";
import { addColumnsSql, createTableSql, LEDGER_SQL } from "./ddl.ts";

export interface RepairOptions {
  readonly createTables: boolean;
  readonly addColumns: boolean;
  readonly nowMs: number;
}

const TABLE_EXISTS = 1_050, UNKNOWN_COLUMN = 1_054, DUPLICATE_COLUMN = 1_060, NO_TABLE = 1_146;

/** True where something was made that may have been the cause of the error, so that the rows can be tried again. */
export async function repairTables(
  connection: MysqlConnection,
  rows: readonly Row[],
  error: unknown,
  { createTables, addColumns, nowMs }: RepairOptions,
): Promise<boolean> {
  const errno = errnoOf(error);
  if (errno === NO_TABLE && /sluice_ledger/.test(messageOf(error))) {
    await connection.query(LEDGER_SQL);
    return true;
  }
  const byTable = [...Map.groupBy(rows, (row) => row.shape.table).values()];
  if (errno === NO_TABLE && createTables) {
    for (const own of byTable) {
      await unlessThere(TABLE_EXISTS, connection.query(createTableSql(own[0].shape, { rows: own, nowMs })));
    }
    return byTable.length > 0;
  }
  if (errno !== UNKNOWN_COLUMN || !addColumns) return false;
  let made = false;
  for (const own of byTable) made = await addMissing(connection, own) || made;
  return made;
}

/** All columns at once that rows of one table lack in it. */
async function addMissing(connection: MysqlConnection, rows: readonly Row[]): Promise<boolean> {
  const [{ shape }] = rows;
  const there = await columnsOf(connection, shape.table);
  const missing = new Map<string, RowColumn>();
  for (const { columns } of new Set(rows.map((row) => row.shape)) as Set<Shape>) {
    for (const column of columns) {
      const name = column.name.toLowerCase();
      if (!there.has(name) && !missing.has(name)) missing.set(name, column);
    }
  }
  if (missing.size === 0) return false;
  await unlessThere(DUPLICATE_COLUMN, connection.query(addColumnsSql(shape, [...missing.values()], rows)));
  return true;
}

/** In small letters. */
async function columnsOf(connection: MysqlConnection, table: string): Promise<Set<string>> {
  const rows = await connection.execute(
    "SELECT column_name AS name FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ?",
    [table],
  );
  return new Set(rows.map((row: { name: string }) => row.name.toLowerCase()));
}

async function unlessThere(errno: number, statement: Promise<unknown>): Promise<void> {
  try {
    await statement;
  } catch (error) {
    if (errnoOf(error) !== errno) throw error;
  }
}
