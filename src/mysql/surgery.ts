/**
 * Takes the bad rows out of a batch and leaves their neighbours in: the culprit is found by the row number in the
 * server's message, or by halving. A refused row takes all rows of its delivery with it.
 *
 * Runs inside the caller's transaction, between savepoints. A row is refused only if it failed alone.
 */
import type { Refused } from "../contracts.ts";
import type { Row } from "../message.ts";
import { classify, errnoOf } from "./classify.ts";
import type { MysqlConnection } from "./connect.ts";
import { insertRows } from "./insert.ts";

/** Inserts rows in groups of one shape and returns what the database refused; throws for every other kind of error. */
export async function insertOrRefuse(
  connection: MysqlConnection,
  rows: readonly Row[],
  refused: Map<number, Refused>,
): Promise<void> {
  for (let at = 0; at < rows.length;) {
    let end = at + 1;
    while (end < rows.length && rows[end].shape === rows[at].shape) end++;
    await attempt(connection, rows.slice(at, end), refused);
    at = end;
  }
}

async function attempt(
  connection: MysqlConnection,
  given: readonly Row[],
  refused: Map<number, Refused>,
): Promise<void> {
  const rows = given.filter((row) => !refused.has(row.sequence));
  if (rows.length === 0) return;
  await connection.query("SAVEPOINT rows_before");
  try {
    await insertRows(connection, rows);
    return;
  } catch (error) {
    if (classify(error, connection.flavour) !== "row") throw error;
    await connection.query("ROLLBACK TO SAVEPOINT rows_before");
    if (rows.length === 1) {
      const [{ sequence }] = rows;
      refused.set(sequence, { sequence, reason: (error as Error).message, errno: errnoOf(error)! });
      return;
    }
  }
  const middle = rows.length >> 1;
  await attempt(connection, rows.slice(0, middle), refused);
  await attempt(connection, rows.slice(middle), refused);
}
