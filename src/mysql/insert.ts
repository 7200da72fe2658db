/**
 * Rows into a table: multi-row `INSERT`s with bound values, as prepared statements of a few fixed sizes, so that a
 * connection keeps few of them, bounded by the server's packet and by 65,535 placeholders (MySQL error 1390).
 */
import { Buffer } from "node:buffer";
import type { Row, Shape, SqlValue } from "../message.ts";
import type { MysqlConnection } from "./connect.ts";
import { quote } from "./ddl.ts";

const SIZES = [1_024, 256, 64, 16, 4, 1];
const PLACEHOLDERS_MAX = 65_535;
/** Of `max_allowed_packet`; beyond it the server ends the connection (MySQL error 1153). */
const PACKET_SHARE = 0.75;

const texts = new WeakMap<Shape, Map<number, string>>();

function insertSql(shape: Shape, count: number): string {
  let byCount = texts.get(shape);
  if (!byCount) texts.set(shape, byCount = new Map());
  let text = byCount.get(count);
  if (text === undefined) {
    text = textOf(shape, count);
    // Others are for once.
    if (SIZES.includes(count)) byCount.set(count, text);
  }
  return text;
}

function textOf({ table, columns, onDuplicateKey }: Shape, count: number): string {
  const names = columns.map((it) => quote(it.name));
  const row = `(${names.map(() => "?").join(",")})`;
  const update = onDuplicateKey === "update"
    // VALUES() is deprecated in MySQL 8.0.20 and later, and the only way that MariaDB knows.
    ? ` ON DUPLICATE KEY UPDATE ${names.map((it) => `${it}=VALUES(${it})`).join(",")}`
    // Not INSERT IGNORE, which would also hide truncation.
    : onDuplicateKey === "ignore"
    ? ` ON DUPLICATE KEY UPDATE ${names[0]}=${names[0]}`
    : "";
  const rows = Array(count).fill(row).join(",");
  return `INSERT INTO ${quote(table)} (${names.join(",")}) VALUES ${rows}${update}`;
}

function bytesOf(row: Row): number {
  let bytes = 0;
  for (const value of row.values) {
    bytes += typeof value === "string"
      ? value.length * 3 + 9
      : value instanceof Uint8Array
      ? value.length + 9
      : 12;
  }
  return bytes;
}

/** Of the packet beside the values of one row: header, NULL bits, types, lengths. */
const overheadOf = (row: Row) => 64 + 12 * row.values.length;

/** More than the server takes in one packet: it would end the connection, as if it were gone. */
export class RowTooBigError extends Error {
  /** ER_NET_PACKET_TOO_LARGE. */
  readonly errno = 1153;
}

function checkFits(row: Row, packetBytesMax: number): void {
  let bytes = overheadOf(row);
  for (const value of row.values) {
    if (typeof value === "string") bytes += Buffer.byteLength(value);
    else if (value instanceof Uint8Array) bytes += value.length;
  }
  if (bytes > packetBytesMax) {
    throw new RowTooBigError(
      `the row has ${bytes} bytes, the server's max_allowed_packet is ${packetBytesMax}`,
    );
  }
}

/** What mysql2 binds without altering it. */
export function boundValue(value: SqlValue): unknown {
  if (typeof value === "bigint") return value.toString();
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  return value;
}

/** How many of the rows, which share their shape, go into the next statement: at least one. */
export function statementLength({ packetBytesMax }: MysqlConnection, rows: readonly Row[]): number {
  const most = Math.floor(PLACEHOLDERS_MAX / rows[0].shape.columns.length);
  const bytesMax = packetBytesMax * PACKET_SHARE;
  let fits = 0, bytes = 0;
  while (fits < rows.length && fits < most && fits < SIZES[0]) {
    bytes += bytesOf(rows[fits]);
    if (fits > 0 && bytes > bytesMax) break;
    fits++;
  }
  return SIZES.find((size) => size <= fits)!;
}

/**
 * Inserts rows of one shape, at most as many as `statementLength` says, in one statement; returns how many warnings the
 * server has about it. Throws the driver's error, or `RowTooBigError`.
 */
export async function insertStatement(connection: MysqlConnection, rows: readonly Row[]): Promise<number> {
  const { packetBytesMax } = connection;
  if (rows.length === 1 && bytesOf(rows[0]) > packetBytesMax * PACKET_SHARE) {
    checkFits(rows[0], packetBytesMax);
  }
  const values: unknown[] = [];
  for (const row of rows) for (const value of row.values) values.push(boundValue(value));
  const { warningStatus } = await connection.execute(insertSql(rows[0].shape, rows.length), values);
  return warningStatus;
}
