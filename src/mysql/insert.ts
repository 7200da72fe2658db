/**
 * Rows into a table: multi-row `INSERT`s with bound values, as prepared statements of a few fixed sizes, so that a
 * connection keeps few of them, bounded by the server's packet and by 65,535 placeholders (MySQL error 1390).
 */
import { Buffer } from "node:buffer";
import type { Row, Shape, SqlValue } from "../message.ts";
import type { Flavour } from "./classify.ts";
import type { MysqlConnection } from "./connect.ts";
import { quote } from "./ddl.ts";

const SIZES = [1_024, 256, 64, 16, 4, 1];
const PLACEHOLDERS_MAX = 65_535;
/** Of `max_allowed_packet`; beyond it the server ends the connection (MySQL error 1153). */
const PACKET_SHARE = 0.75;

/**
 * How a value is bound, `n`umber, `s`tring or `b`ytes; null goes with each. A statement has one kind for each column, in
 * all of its rows and for ever, and says of texts and bytes that they are that. MySQL (since 8.0.22) remembers of a parameter
 * that it was once given a number, or for a column of numbers a text like `5e-324`, and reads every later text for it as a
 * double if it can: "007" was stored as 7, and 9007199254740993 as one less.
 */
type Kind = "n" | "s" | "b";

/** In MySQL's statements. */
const PLACES: Readonly<Record<Kind, string>> = { n: "?", s: "CAST(? AS CHAR)", b: "CAST(? AS BINARY)" };

/** By column; undefined where there were only NULLs. */
type Kinds = (Kind | undefined)[];

/** What is remembered of a shape's statements. */
interface Texts {
  readonly bySignature: Map<string, string>;
  /** Of the last values that were not NULL. */
  readonly kinds: Kinds;
}

const TEXTS_MAX = 500;
const texts = new WeakMap<Shape, Texts>();

function kindOf(value: SqlValue): Kind | undefined {
  switch (typeof value) {
    case "number":
      return isLong(value) ? "s" : "n";
    case "boolean":
      return "n";
    case "object":
      return value === null ? undefined : "b";
    default:
      return "s";
  }
}

/** A double with so many digits and such an exponent loses a digit where MySQL writes it into a column of text. */
function isLong(value: number): boolean {
  const size = Math.abs(value);
  return size !== 0 && (size < 1e-6 || size >= 1e21) && String(value).length > NUMBER_LENGTH_MAX;
}

const NUMBER_LENGTH_MAX = 22;

/** Whether the row can be in one statement with those of these kinds; takes its own in, then. */
function joins({ values }: Row, kinds: Kinds): boolean {
  for (let i = 0; i < values.length; i++) {
    const kind = kindOf(values[i]);
    if (kind !== undefined && kinds[i] !== undefined && kinds[i] !== kind) return false;
  }
  for (let i = 0; i < values.length; i++) kinds[i] ??= kindOf(values[i]);
  return true;
}

function insertSql(rows: readonly Row[], flavour: Flavour): string {
  const [{ shape }] = rows;
  let known = texts.get(shape);
  if (!known) texts.set(shape, known = { bySignature: new Map(), kinds: [] });
  const kinds: Kinds = [];
  for (const row of rows) joins(row, kinds);
  for (let i = 0; i < shape.columns.length; i++) known.kinds[i] = kinds[i] ?? known.kinds[i] ?? "s";
  const signature = `${flavour} ${known.kinds.join("")} ${rows.length}`;
  let text = known.bySignature.get(signature);
  if (text === undefined) {
    const places = known.kinds.map((kind) => flavour === "mysql" ? PLACES[kind!] : "?");
    // The comment makes it another statement where nothing else does.
    text = `${textOf(shape, places, rows.length)} /* ${known.kinds.join("")} */`;
    if (known.bySignature.size >= TEXTS_MAX) known.bySignature.clear();
    known.bySignature.set(signature, text);
  }
  return text;
}

function textOf({ table, columns, onDuplicateKey }: Shape, places: readonly string[], count: number): string {
  const names = columns.map((it) => quote(it.name));
  const row = `(${places.join(",")})`;
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

/** What mysql2 binds without altering it, as `kindOf` says. */
export function boundValue(value: SqlValue): unknown {
  if (typeof value === "bigint") return value.toString();
  if (typeof value === "boolean") return Number(value);
  if (typeof value === "number" && isLong(value)) return String(value);
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  return value;
}

/** How many of the rows, which share their shape, go into the next statement: at least one. */
export function statementLength({ packetBytesMax }: MysqlConnection, rows: readonly Row[]): number {
  const most = Math.floor(PLACEHOLDERS_MAX / rows[0].shape.columns.length);
  const bytesMax = packetBytesMax * PACKET_SHARE;
  const kinds: Kinds = [];
  let fits = 0, bytes = 0;
  while (fits < rows.length && fits < most && fits < SIZES[0] && joins(rows[fits], kinds)) {
    bytes += bytesOf(rows[fits]);
    if (fits > 0 && bytes > bytesMax) break;
    fits++;
  }
  return SIZES.find((size) => size <= fits)!;
}

/**
 * Inserts rows of one shape, no more than and none but those of which `statementLength` spoke, in one statement; returns how many warnings the
 * server has about it. Throws the driver's error, or `RowTooBigError`.
 */
export async function insertStatement(connection: MysqlConnection, rows: readonly Row[]): Promise<number> {
  const { packetBytesMax } = connection;
  if (rows.length === 1 && bytesOf(rows[0]) > packetBytesMax * PACKET_SHARE) {
    checkFits(rows[0], packetBytesMax);
  }
  const values: unknown[] = [];
  for (const row of rows) for (const value of row.values) values.push(boundValue(value));
  const { warningStatus } = await connection.execute(insertSql(rows, connection.flavour), values);
  return warningStatus;
}
