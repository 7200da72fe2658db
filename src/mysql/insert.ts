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

/** The statement for so many rows. */
export function insertText(shape: Shape, count: number): string {
  let byCount = texts.get(shape);
  if (!byCount) texts.set(shape, byCount = new Map());
  let text = byCount.get(count);
  if (text === undefined) {
    const names = shape.columns.map((it) => quote(it.name));
    const row = `(${names.map(() => "?").join(",")})`;
    const update = shape.onDuplicateKey === "update"
      ? ` ON DUPLICATE KEY UPDATE ${names.map((it) => `${it}=VALUES(${it})`).join(",")}`
      // Not INSERT IGNORE, which would also hide truncation.
      : shape.onDuplicateKey === "ignore"
      ? ` ON DUPLICATE KEY UPDATE ${names[0]}=${names[0]}`
      : "";
    text = `INSERT INTO ${quote(shape.table)} (${names.join(",")}) VALUES ${
      Array(count).fill(row).join(",")
    }${update}`;
    byCount.set(count, text);
  }
  return text;
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
function bound(value: SqlValue): unknown {
  if (typeof value === "bigint") return value.toString();
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  return value;
}

/** Inserts all rows, which share their shape. Throws the driver's error of the first statement that fails, or `RowTooBigError`. */
export async function insertRows(connection: MysqlConnection, rows: readonly Row[]): Promise<void> {
  const { shape } = rows[0];
  const most = Math.floor(PLACEHOLDERS_MAX / shape.columns.length);
  const bytesMax = connection.packetBytesMax * PACKET_SHARE;
  for (let at = 0; at < rows.length;) {
    let fits = 0, bytes = 0;
    while (
      at + fits < rows.length && fits < most && (fits === 0 || bytes + bytesOf(rows[at + fits]) <= bytesMax)
    ) {
      bytes += bytesOf(rows[at + fits]);
      fits++;
    }
    if (fits === 1 && bytes > bytesMax) checkFits(rows[at], connection.packetBytesMax);
    const count = SIZES.find((size) => size <= fits)!;
    const values: unknown[] = [];
    for (let i = at; i < at + count; i++) for (const value of rows[i].values) values.push(bound(value));
    await connection.execute(insertText(shape, count), values);
    at += count;
  }
}
