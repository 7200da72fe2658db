/**
 * Looks after one table of the embedded database: sums up its finished hours, then removes its old rows. Each statement
 * is short and a transaction of its own, so that rows are written in between.
 */
import { parseColumnType } from "../column_type.ts";
import type { Maintained, Maintenance } from "../contracts.ts";
import { StallError } from "../errors.ts";
import {
  between,
  HOUR_COLUMN,
  hourlyColumn,
  hourlyTable,
  hourQuestions,
  hourText,
  STATISTICS,
} from "../hourly.ts";
import type { SqlValue } from "../message.ts";
import { type HourlyStore, lookAfter, openTurn } from "../upkeep.ts";
import { quote } from "./ddl.ts";

/** Runs one statement: its rows, or how many it has changed. */
export type RunSql = (sql: string, values?: readonly SqlValue[]) => Promise<SqlResult>;

export interface SqlResult {
  readonly rows: readonly Readonly<Record<string, SqlValue>>[];
  readonly changes: number;
}

/** Rows of one delete. */
const DELETE_MAX = 500;

interface Column {
  readonly name: string;
  /** As declared, in capitals; "" where it was made without. */
  readonly type: string;
  /** Position in the primary key from 1 on; 0: not in it. */
  readonly pk: number;
}

export async function maintainTable(
  task: Maintenance,
  { run, createTables, signal }: { run: RunSql; createTables: boolean; signal: AbortSignal },
): Promise<Maintained> {
  const { table, hours, design: { time } } = task;
  const columns = await columnsOf(run, table);
  if (columns.length === 0 || time === undefined) return { more: false, hours, advice: null };
  if (!find(columns, time)) {
    throw stalled(table, `table ${table} has no column ${time}, by which its rows grow old`);
  }
  const turn = openTurn(signal);
  const hourly = task.design.hourly ? await openHourly(task, time, columns, run, createTables) : undefined;
  const sql = `DELETE FROM ${quote(table)} WHERE rowid IN (SELECT rowid FROM ${quote(table)} ` +
    `WHERE ${quote(time)} < ? LIMIT ${DELETE_MAX})`;
  const isDate = task.design.columns.find((it) => it.name === time)?.type?.trim().toLowerCase() === "date";
  const removeBefore = async (cutoffMs: number) => {
    // A date alone means all of its day, which is not too old before it is over.
    const before = new Date(cutoffMs).toISOString().slice(0, isDate ? 10 : 23).replace("T", " ");
    while ((await run(sql, [before])).changes === DELETE_MAX) {
      if (turn.isOver()) return true;
      await turn.pause();
    }
    return false;
  };
  const { rows } = await run(
    `SELECT 1 FROM pragma_index_list(?) AS l JOIN pragma_index_info(l.name) AS i
     WHERE i.seqno = 0 AND lower(i.name) = lower(?)`,
    [table, time],
  );
  const advice = rows.length > 0
    ? null
    : `table ${table} has no index that begins with ${time}: all of it is read to find what is too old or belongs ` +
      `to an hour (CREATE INDEX ... ON ${quote(table)} (${quote(time)}))`;
  return { ...await lookAfter({ hourly, removeBefore }, task, turn), advice };
}

async function columnsOf(run: RunSql, table: string): Promise<Column[]> {
  const { rows } = await run("SELECT name, type, pk FROM pragma_table_info(?)", [table]);
  return rows.map(({ name, type, pk }) => ({
    name: String(name),
    type: String(type).toUpperCase(),
    pk: Number(pk),
  }));
}

const find = (columns: readonly Column[], name: string) =>
  columns.find((it) => it.name.toLowerCase() === name.toLowerCase());

/** A column of numbers: how it is read, and what its least and greatest are kept as. */
interface NumberColumn {
  readonly name: string;
  readonly value: string;
  readonly type: string;
}

async function openHourly(
  { table, design }: Maintenance,
  time: string,
  columns: readonly Column[],
  run: RunSql,
  createTables: boolean,
): Promise<HourlyStore> {
  const missing = design.series.find((name) => !find(columns, name));
  if (missing) throw stalled(table, `table ${table} has no column ${missing}, which tells its series apart`);
  const numbers = design.columns.flatMap(({ name, role, type }): NumberColumn[] => {
    const there = role === "value" && !design.series.includes(name) ? find(columns, name) : undefined;
    const number = there && numberColumn(name, there.type, type);
    return number ? [number] : [];
  });
  if (numbers.length === 0) {
    throw stalled(table, `table ${table} has no column of numbers to sum up by the hour`);
  }
  const series = design.series.map((name) => ({ name, type: find(columns, name)!.type }));
  await ensureTable(table, series, numbers, run, createTables);
  const ask = async (sql: string, values: readonly string[]) => (await run(sql, values)).rows[0].found;
  return {
    ...hourQuestions({ table, time, quote, ask }),
    sumUp: async (hour, complete) => {
      const sql = sumUpSql(table, between(quote(time)), series.map((it) => it.name), numbers, complete);
      await run(sql, [hourText(hour), hourText(hour), hourText(hour + 1)]);
    },
  };
}

/** Undefined for a column that holds no numbers. `type`: as it is declared in the table; `wanted`: in the configuration. */
function numberColumn(name: string, type: string, wanted: string | undefined): NumberColumn | undefined {
  const column = quote(name);
  if (/INT/.test(type)) return { name, value: column, type: "INTEGER" };
  if (/REAL|FLOA|DOUB|NUM|DEC/.test(type)) return { name, value: column, type: "REAL" };
  const family = wanted === undefined ? undefined : parseColumnType(wanted).family;
  // Decimals, and whole numbers that are too large for INTEGER, are kept as texts.
  if (family === "decimal" || family === "integer") {
    return { name, value: `CAST(${column} AS REAL)`, type: "REAL" };
  }
}

async function ensureTable(
  table: string,
  series: readonly { readonly name: string; readonly type: string }[],
  numbers: readonly NumberColumn[],
  run: RunSql,
  createTables: boolean,
): Promise<void> {
  const name = hourlyTable(table);
  const there = await columnsOf(run, name);
  const added = numbers.filter((it) => !find(there, hourlyColumn(it.name, "count"))).flatMap(summaryColumns);
  if (added.length > 0 && !createTables) {
    throw stalled(table, `table ${name} is missing or lacks columns, and createTables is false`);
  }
  if (there.length === 0) {
    const lines = [
      `${quote(HOUR_COLUMN)} TEXT NOT NULL`,
      ...series.map((it) => `${quote(it.name)} ${it.type} NOT NULL`),
      ...added,
      `PRIMARY KEY (${[...series.map((it) => it.name), HOUR_COLUMN].map(quote).join(", ")})`,
    ];
    await run(`CREATE TABLE IF NOT EXISTS ${quote(name)} (${lines.join(", ")})`);
    await run(
      `CREATE INDEX IF NOT EXISTS ${quote(`sluice_${name}_time`)} ON ${quote(name)} (${quote(HOUR_COLUMN)})`,
    );
    return;
  }
  const text = (names: readonly string[]) => names.map((it) => it.toLowerCase()).sort().join(", ");
  const [key, wanted] = [
    text(there.filter((it) => it.pk > 0).map((it) => it.name)),
    text([...series.map((it) => it.name), HOUR_COLUMN]),
  ];
  if (key !== wanted) {
    throw stalled(
      table,
      `the primary key of table ${name} is (${key}), its series are told apart by (${wanted})`,
      `rename or drop ${name}: it is made anew`,
    );
  }
  for (const column of added) await run(`ALTER TABLE ${quote(name)} ADD COLUMN ${column}`);
}

function summaryColumns({ name, type }: NumberColumn): string[] {
  const types = { min: type, mean: "REAL", max: type, count: "INTEGER NOT NULL DEFAULT 0" };
  return STATISTICS.map((it) => `${quote(hourlyColumn(name, it))} ${types[it]}`);
}

function sumUpSql(
  table: string,
  between: string,
  series: readonly string[],
  numbers: readonly NumberColumn[],
  complete: boolean,
): string {
  const target = quote(hourlyTable(table));
  const keys = series.map((name) => `COALESCE(${quote(name)}, '')`);
  const columns = numbers.map(({ name, value }) => ({
    names: STATISTICS.map((it) => quote(hourlyColumn(name, it))),
    values: [`MIN(${value})`, `AVG(${value})`, `MAX(${value})`, `COUNT(${value})`],
  }));
  const key = [quote(HOUR_COLUMN), ...series.map(quote)];
  const updates = columns.flatMap(({ names }) => {
    const isMore = `excluded.${names[3]} >= ${target}.${names[3]}`;
    return names.map((it) => `${it} = CASE WHEN ${isMore} THEN excluded.${it} ELSE ${target}.${it} END`);
  });
  return `INSERT INTO ${target} (${[...key, ...columns.flatMap((it) => it.names)].join(", ")}) ` +
    `SELECT ${["?", ...keys, ...columns.flatMap((it) => it.values)].join(", ")} FROM ${quote(table)} ` +
    `WHERE ${between} GROUP BY ${keys.length > 0 ? keys.join(", ") : "1"} ` +
    `HAVING ${columns.map((it) => it.values[3]).join(" + ")} > 0 ` +
    `ON CONFLICT (${key.join(", ")}) DO ${complete ? `UPDATE SET ${updates.join(", ")}` : "NOTHING"}`;
}

const stalled = (table: string, message: string, hint?: string) =>
  new StallError(message, { lane: table, errno: null, hint });
