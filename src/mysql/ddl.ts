/**
 * SQL text for tables: the ledger, tables that the gateway makes, columns that it adds. Identifiers are quoted; types
 * come from `parseColumnType`, so that nothing of a message or a configuration becomes SQL by accident.
 *
 * What tells rows apart is compared byte by byte, as topics are: by default "TV" and "tv" would be one to the database.
 */
import { systemClock } from "../clock.ts";
import { type ColumnType, parseColumnType } from "../column_type.ts";
import type { DesignColumn, Row, RowColumn, Shape, SqlValue, TableDesign } from "../message.ts";
import { designOf, ownId } from "../table_design.ts";
import { fitted, indexPrefixes } from "./column_size.ts";
import { quote, textSql } from "./identifier.ts";
import { isWorthPartitions, partitionBySql } from "./partitions.ts";

export { quote } from "./identifier.ts";

export const LEDGER_SQL = `CREATE TABLE IF NOT EXISTS sluice_ledger (
  spool CHAR(36) CHARACTER SET ascii NOT NULL,
  lane VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  upto BIGINT UNSIGNED NOT NULL,
  updated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
  PRIMARY KEY (spool, lane)
) ENGINE=InnoDB`;

const BY_ROLE: Readonly<Record<Exclude<RowColumn["role"], "value" | "time">, string>> = {
  received: "datetime(3)",
  topic: "varchar(512)",
  payload: "longblob",
  qos: "tinyint unsigned",
  retain: "boolean",
  gateway: "varchar(255)",
  sequence: "bigint unsigned",
  level: "varchar(255)",
};

/** Columns of these are never NULL, whatever their type. */
const ALWAYS_THERE: readonly RowColumn["role"][] = [
  "received",
  "topic",
  "payload",
  "qos",
  "retain",
  "gateway",
  "sequence",
];

export const TABLE_OPTIONS = "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 ROW_FORMAT=DYNAMIC";
const COMMENT_LENGTH_MAX = 1_024;
/** MySQL error 1070. */
const KEY_COLUMNS_MAX = 16;

/** The type of a column without one in the configuration: what its first value shows, or a number where there is none. */
function inferred(sample: SqlValue | undefined): string {
  switch (typeof sample) {
    case "boolean":
      return "boolean";
    case "bigint":
      return sample > 0x7fff_ffff_ffff_ffffn ? "bigint unsigned" : "bigint";
    case "string":
      return sample.length > 100 ? "text" : "varchar(255)";
    case "object":
      return sample === null ? "double" : "longblob";
    default:
      return "double";
  }
}

/** `inKey`: it is in an index, where a text must have a length. */
export function columnType(column: RowColumn, sample?: SqlValue, inKey = false): ColumnType {
  const { type, role } = column;
  if (type !== undefined) return parseColumnType(type);
  if (role !== "value" && role !== "time") return parseColumnType(BY_ROLE[role]);
  const guess = inferred(sample);
  const unusable = guess === "text" || sample === undefined || sample === null;
  return parseColumnType(inKey && unusable ? "varchar(255)" : guess);
}

interface Wanted {
  readonly column: DesignColumn;
  readonly type: ColumnType;
  readonly inKey: boolean;
  readonly required: boolean;
}

function wantedSql({ column, type, inKey, required }: Wanted): string {
  const apart = inKey || ["topic", "level", "gateway"].includes(column.role);
  const collation = apart && type.family === "text" ? " COLLATE utf8mb4_bin" : "";
  const comment = column.unit === undefined
    ? ""
    : ` COMMENT ${textSql(column.unit.slice(0, COMMENT_LENGTH_MAX))}`;
  return `${quote(column.name)} ${type.sql}${collation}${required ? " NOT NULL" : " NULL"}${comment}`;
}

function isRequired({ role, type, sometimes }: DesignColumn): boolean {
  return !sometimes && (ALWAYS_THERE.includes(role) || role === "level" && type === undefined);
}

export interface CreateOptions {
  /** Rows that wait for the table: they show the types of columns that have none in the configuration. Undefined: there are none yet, and a number is taken for likely. */
  readonly rows?: readonly Row[];
  /** @default the wall clock */
  readonly nowMs?: number;
}

/** `CREATE TABLE` for a shape and for all that other routes write to its table. */
export function createTableSql(
  shape: Shape,
  { rows, nowMs = systemClock.wallMs() }: CreateOptions = {},
): string {
  const design = designOf(shape);
  const { key } = design;
  const own = new Set(
    [shape, ...(rows ?? []).map((it) => it.shape)].flatMap((it) => it.columns.map(({ name }) => name)),
  );
  // Nobody knows yet what another route's column without a type will hold: it is not made up here.
  const columns = design.columns.filter((it) =>
    rows === undefined || own.has(it.name) || it.type !== undefined || it.role !== "value"
  );
  const series = design.series.filter((name) => columns.some((it) => it.name === name));
  const named = columns.map((column) => {
    const inKey = key.includes(column.name) || series.includes(column.name);
    return { column, inKey, type: columnType(column, sampleOf(rows ?? [], column.name), inKey) };
  });
  const types = fitted(named);
  const wanted = named.map((it, i): Wanted => ({
    ...it,
    type: types[i],
    required: key.includes(it.column.name) || isRequired(it.column),
  }));
  const id = ownId({ key, columns });
  const time = wanted.find(({ column, type }) => column.name === design.time && isTime(type));
  const partitioned = isPartitioned(design, time);
  const primary = id === undefined ? key : partitioned ? [id, design.time!] : [id];
  const lines = [
    ...(id === undefined ? [] : [`${quote(id)} BIGINT UNSIGNED NOT NULL AUTO_INCREMENT`]),
    ...wanted.map(wantedSql),
    ...(primary.length > 0 ? [`PRIMARY KEY (${primary.map(quote).join(", ")})`] : []),
    ...indexes(key, series.map((name) => wanted.find(({ column }) => column.name === name)!), time),
  ];
  const partitions = partitioned
    ? partitionBySql(design.time!, { ...design, retentionMs: design.retentionMs! }, {
      nowMs,
      oldestMs: oldestOf(rows ?? [], design.time!) ?? nowMs,
    })
    : "";
  return `CREATE TABLE IF NOT EXISTS ${quote(shape.table)} (\n  ${
    lines.join(",\n  ")
  }\n) ${TABLE_OPTIONS}${partitions}`;
}

const isTime = ({ family }: ColumnType) => family === "datetime" || family === "date";

/** Every key must contain the time by which rows are divided; one that is missing would lie in the oldest partition. */
function isPartitioned({ retentionMs, key }: TableDesign, time: Wanted | undefined): boolean {
  return retentionMs !== undefined && isWorthPartitions(retentionMs) &&
    (key.length === 0 || time !== undefined && key.includes(time.column.name)) &&
    time?.column.role === "received" && time.required && time.type.name !== "timestamp";
}

/** By time, and by series and time, so that one series of one day is a range. */
function indexes(key: readonly string[], series: readonly Wanted[], time: Wanted | undefined): string[] {
  if (!time) return [];
  const parts = [...series.filter(({ type }) => type.family !== "json").slice(0, KEY_COLUMNS_MAX - 1), time];
  const isKey = series.length > 0 && series.every(({ column }, i) => column.name === key[i]);
  const made = [`KEY (${quote(time.column.name)})`];
  if (isKey || parts.length === 1) return made;
  const lengths = indexPrefixes(parts.map(({ type }) => type));
  const text = parts.map(({ column }, i) =>
    quote(column.name) + (lengths[i] === undefined ? "" : `(${lengths[i]})`)
  );
  return [`KEY (${text.join(", ")})`, ...made];
}

/** The first value, but where all are whole numbers one that shows how large they become. */
function sampleOf(rows: readonly Row[], name: string): SqlValue | undefined {
  const values = valuesOf(rows, name);
  const isWhole = (it: SqlValue) => typeof it === "bigint" || Number.isInteger(it);
  const big = values.filter((it) => typeof it === "bigint");
  return big.length > 0 && values.every(isWhole)
    ? big.reduce((most, it) => it > most ? it : most)
    : values[0];
}

/** What is to go into a column, without NULLs. The rows may be of several shapes. */
function valuesOf(rows: readonly Row[], name: string): SqlValue[] {
  const at = new Map<Shape, number>();
  return rows.flatMap(({ shape, values }) => {
    let index = at.get(shape);
    if (index === undefined) at.set(shape, index = shape.columns.findIndex((it) => it.name === name));
    const value = index < 0 ? null : values[index];
    return value === null || value === undefined ? [] : [value];
  });
}

function oldestOf(rows: readonly Row[], time: string): number | undefined {
  const texts = valuesOf(rows, time).filter((it) => typeof it === "string");
  const oldest = texts.reduce((least, it) => it < least ? it : least, texts[0] ?? "");
  const ms = Date.parse(`${oldest.replace(" ", "T")}Z`);
  return Number.isNaN(ms) ? undefined : ms;
}

/** Columns to add to the table of a shape, each NULL in the rows that are there. `rows`: as in `CreateOptions`. */
export function addColumnsSql(
  shape: Shape,
  columns: readonly RowColumn[],
  rows: readonly Row[] = [],
): string {
  const { series } = designOf(shape);
  const added = columns.map((column) => {
    const inKey = series.includes(column.name);
    const type = columnType(column, sampleOf(rows, column.name), inKey);
    return `ADD COLUMN ${wantedSql({ column, type, inKey, required: false })}`;
  });
  return `ALTER TABLE ${quote(shape.table)} ${added.join(", ")}`;
}
