/**
 * SQL text for tables of the embedded database: tables that the gateway makes, with their indexes, and columns that it
 * adds. SQLite itself checks no types: what a declared type means here is how a value is kept.
 */
import { type ColumnType, parseColumnType } from "../column_type.ts";
import type { DesignColumn, Row, RowColumn, Shape, SqlValue } from "../message.ts";
import { designOf, ownId } from "../table_design.ts";

export const quote = (name: string) => `"${name.replaceAll('"', '""')}"`;

export const LEDGER_SQL =
  "CREATE TABLE IF NOT EXISTS sluice_ledger (spool TEXT, lane TEXT, upto INTEGER, updated_at TEXT, PRIMARY KEY (spool, lane))";

/** Decimals are texts, which keep their digits. */
const AFFINITY: Readonly<Record<ColumnType["family"], string>> = {
  boolean: "INTEGER",
  integer: "INTEGER",
  decimal: "TEXT",
  float: "REAL",
  text: "TEXT",
  binary: "BLOB",
  json: "TEXT",
  datetime: "TEXT",
  date: "TEXT",
  time: "TEXT",
};

const BY_ROLE: Readonly<Record<Exclude<RowColumn["role"], "value" | "time">, string>> = {
  received: "TEXT",
  topic: "TEXT",
  payload: "BLOB",
  qos: "INTEGER",
  retain: "INTEGER",
  gateway: "TEXT",
  sequence: "INTEGER",
  level: "TEXT",
};

export function columnType({ type: text, role }: RowColumn, sample: SqlValue | undefined): string {
  if (text !== undefined) {
    const type = parseColumnType(text);
    // Half of its numbers are beyond SQLite's INTEGER, which would make them inexact: without a type they stay what they are.
    return type.name === "bigint" && type.unsigned ? "" : AFFINITY[type.family];
  }
  if (role !== "value" && role !== "time") return BY_ROLE[role];
  return typeof sample === "string"
    ? "TEXT"
    : sample instanceof Uint8Array
    ? "BLOB"
    : typeof sample === "number" || sample === null || sample === undefined
    ? "REAL"
    : "INTEGER";
}

/** The table of a shape, with what other routes write to it, and its indexes. */
export function createTableSql(shape: Shape, rows: readonly Row[]): string[] {
  const { table } = shape;
  const design = designOf(shape);
  const own = new Set(shape.columns.map((it) => it.name));
  const columns = design.columns.filter((it) =>
    own.has(it.name) || it.type !== undefined || it.role !== "value"
  );
  const id = ownId({ key: design.key, columns });
  const lines = [
    ...(id === undefined ? [] : [`${quote(id)} INTEGER PRIMARY KEY AUTOINCREMENT`]),
    ...columns.map((column) => {
      const isRequired = requiredOf(column) || design.key.includes(column.name);
      const type = columnType(column, sampleOf(shape, rows, column.name));
      return `${quote(column.name)} ${type}${isRequired ? " NOT NULL" : ""}`;
    }),
    ...(design.key.length > 0 ? [`PRIMARY KEY (${design.key.map(quote).join(", ")})`] : []),
  ];
  const { time } = design;
  const series = design.series.filter((name) => columns.some((it) => it.name === name));
  const index = (suffix: string, names: readonly string[]) =>
    `CREATE INDEX IF NOT EXISTS ${quote(`sluice_${table}_${suffix}`)} ON ${quote(table)} (${
      names.map(quote).join(", ")
    })`;
  return [
    `CREATE TABLE ${quote(table)} (${lines.join(", ")})`,
    ...(time === undefined ? [] : [index("time", [time])]),
    ...(time === undefined || series.length === 0 ? [] : [index("series", [...series, time])]),
  ];
}

function requiredOf({ role, type, sometimes }: DesignColumn): boolean {
  return !sometimes && type === undefined && role !== "value" && role !== "time";
}

export function addColumnSql(shape: Shape, column: RowColumn, rows: readonly Row[]): string {
  const type = columnType(column, sampleOf(shape, rows, column.name));
  return `ALTER TABLE ${quote(shape.table)} ADD COLUMN ${quote(column.name)} ${type}`;
}

/** The first value of a column, but where all are whole numbers the first of the large ones. */
function sampleOf({ table }: Shape, rows: readonly Row[], name: string): SqlValue | undefined {
  const values = rows.filter(({ shape }) => shape.table === table)
    .map(({ shape, values }) => values[shape.columns.findIndex((it) => it.name === name)])
    .filter((it) => it !== null && it !== undefined);
  const areWhole = values.every((it) => typeof it === "bigint" || Number.isInteger(it));
  return areWhole ? values.find((it) => typeof it === "bigint") ?? values[0] : values[0];
}
