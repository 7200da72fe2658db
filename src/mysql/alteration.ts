/**
 * What the server stored otherwise than it was given, found in its warnings. Strict SQL refuses nearly all of that, with
 * two exceptions: spaces at the end of a text, which are cut off with no more than a note; and a session that is not
 * strict after all, because something between us and the server has its own idea of `sql_mode`.
 *
 * A number that is rounded to the digits of its column, and a time to its fraction, are as the table's owner wants them.
 */
import type { Row, SqlValue } from "../message.ts";
import { classify } from "./classify.ts";
import type { MysqlConnection } from "./connect.ts";

/** Rows are stored, but one of them not as it was: the statement has to be taken back. */
export class AlterationError extends Error {
  /** Of the warning. */
  readonly errno: number;
  constructor(message: string, errno: number) {
    super(message);
    this.errno = errno;
  }
}

interface Warning {
  readonly Level: "Note" | "Warning" | "Error";
  readonly Code: number;
  readonly Message: string;
}

/** WARN_DATA_TRUNCATED */
const TRUNCATED = 1265;
const SPACE = 0x20;

const strict = new WeakMap<MysqlConnection, boolean>();

/**
 * Throws `AlterationError` where the statement that has just inserted these rows, and left `count` warnings, did not
 * keep to their values. Costs nothing where there are no warnings, and a round trip where there may be something in them.
 */
export async function assertUnaltered(
  connection: MysqlConnection,
  rows: readonly Row[],
  count: number,
): Promise<void> {
  if (count === 0) return;
  const mayBeCut = rows.some((row) => row.values.some(endsWithSpace));
  if (strict.get(connection) && !mayBeCut) return;
  const warnings: Warning[] = await connection.query("SHOW WARNINGS");
  const isStrict = strict.get(connection) ?? await readStrict(connection);
  for (const { Level, Code, Message } of warnings) {
    const kind = classify({ errno: Code }, connection.flavour);
    const isFault = !isStrict && Level !== "Note" && (kind === "row" || kind === "schema");
    if (isFault || Code === TRUNCATED && cutsSpaces(Message, rows)) throw new AlterationError(Message, Code);
  }
  // The server keeps only the first (`max_error_count`); fewer rows will have fewer.
  if (warnings.length < count && (mayBeCut || !isStrict)) {
    throw new AlterationError(`${count} warnings, of which the server tells ${warnings.length}`, TRUNCATED);
  }
}

async function readStrict(connection: MysqlConnection): Promise<boolean> {
  const [{ mode }] = await connection.query("SELECT @@sql_mode AS mode");
  const isStrict = /STRICT_ALL_TABLES/.test(String(mode));
  strict.set(connection, isStrict);
  return isStrict;
}

/** The note names column and row of the statement. */
function cutsSpaces(message: string, rows: readonly Row[]): boolean {
  const [, column, row] = /column '(.+)' at row (\d+)/.exec(message) ?? [];
  if (column === undefined) return false;
  const { columns } = rows[0].shape;
  const i = columns.findIndex((it) => it.name.toLowerCase() === column.toLowerCase());
  return endsWithSpace(rows[Number(row) - 1]?.values[i]);
}

function endsWithSpace(value: SqlValue | undefined): boolean {
  return typeof value === "string"
    ? value.endsWith(" ")
    : value instanceof Uint8Array && value.at(-1) === SPACE;
}
