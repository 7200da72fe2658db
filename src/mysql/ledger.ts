/**
 * A lane's row in `sluice_ledger`: how far its rows are committed. It is locked before they are inserted and moved
 * after, in their transaction, which is what makes a repeated write visible.
 *
 * A ledger that is not transactional would say that rows are there which were rolled back: it is not used.
 */
import type { WriteRequest } from "../contracts.ts";
import { LedgerError, StallError } from "../errors.ts";
import type { Row, SqlValue } from "../message.ts";
import { classify } from "./classify.ts";
import type { MysqlConnection } from "./connect.ts";
import { quote } from "./ddl.ts";
import { boundValue } from "./insert.ts";

/** What the server says of a lane's table. Null: there is none, or it does not show it to this user. */
export type Transactional = boolean | null;

/**
 * Makes the row of a new lane beforehand: to lock one that is not there locks the gap, and new lanes would deadlock.
 * False: there is none, and an old lane's is not made up here; `ledgerError` tells of it.
 */
export async function enterLane(
  connection: MysqlConnection,
  { spool, lane, after, adopt = false }: WriteRequest,
): Promise<boolean> {
  const of = [spool, lane];
  const [entry] = await connection.execute("SELECT 1 FROM sluice_ledger WHERE spool = ? AND lane = ?", of);
  if (entry !== undefined) return true;
  if (after > 0 && !adopt) return false;
  await connection.execute("INSERT IGNORE INTO sluice_ledger (spool, lane, upto) VALUES (?, ?, ?)", [
    ...of,
    String(after),
  ]);
  return true;
}

/** Whether the lane's table has transactions. Throws `StallError` where the ledger has none. */
export async function inspectEngines(connection: MysqlConnection, lane: string): Promise<Transactional> {
  const tables: { name: string; transactions: string | null }[] = await connection.execute(
    `SELECT t.table_name AS name, e.transactions AS transactions FROM information_schema.tables t
     LEFT JOIN information_schema.engines e ON e.engine = t.engine
     WHERE t.table_schema = DATABASE() AND t.table_name IN ('sluice_ledger', ?)`,
    [lane],
  );
  // A view has no engine: what is behind it is not known, and is taken for what it should be.
  const has = (it: { transactions: string | null }) => it.transactions !== "NO";
  const ledger = tables.find(({ name }) => name.toLowerCase() === "sluice_ledger");
  if (ledger && !has(ledger)) {
    throw new StallError(
      "the table sluice_ledger has no transactions, so it cannot say what is committed and what is not",
      { lane, hint: "ALTER TABLE sluice_ledger ENGINE=InnoDB" },
    );
  }
  const table = tables.find(({ name }) => name.toLowerCase() === lane.toLowerCase());
  return table ? has(table) : null;
}

/** What the ledger says of the lane, locked until the transaction ends; null where it has no row. */
export async function lockLedger(
  connection: MysqlConnection,
  { spool, lane }: WriteRequest,
): Promise<number | null> {
  const [entry] = await connection.execute(
    "SELECT upto FROM sluice_ledger WHERE spool = ? AND lane = ? FOR UPDATE",
    [spool, lane],
  );
  return entry === undefined ? null : Number(entry.upto);
}

export async function moveLedger(
  connection: MysqlConnection,
  { spool, lane, last }: WriteRequest,
): Promise<void> {
  await connection.execute(
    "INSERT INTO sluice_ledger (spool, lane, upto) VALUES (?, ?, ?) ON DUPLICATE KEY UPDATE upto = VALUES(upto)",
    [spool, lane, String(last)],
  );
}

/** Why what the ledger says does not fit this write; null where it does. `held`: see `holds`. */
export function ledgerError(
  { lane, after, highest, adopt = false }: WriteRequest,
  upto: number | null,
  held = false,
): LedgerError | null {
  if (upto !== null && upto > highest) {
    return new LedgerError(`the ledger of ${lane} says ${upto}, more than was ever written (${highest})`, {
      kind: "ahead",
      upto,
    });
  }
  if (adopt) return null;
  if (upto === null && after > 0) {
    return new LedgerError(`the ledger has no row for ${lane}, which stands at ${after}`, {
      kind: "missing",
      upto: 0,
      held,
    });
  }
  if (upto !== null && upto < after) {
    return new LedgerError(`the ledger of ${lane} says ${upto}, not ${after}`, { kind: "behind", upto });
  }
  return null;
}

const TIME = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?$/;
/** A table without an index that helps is read from end to end. */
const LOOK_SEC_MAX = 2;

/** Whether the table has this row, as far as its columns keep what they are given. False where that cannot be told. */
export async function holds(
  connection: MysqlConnection,
  { shape, values }: Row,
): Promise<boolean> {
  const conditions = shape.columns.map(({ name }, i) => conditionOf(quote(name), values[i]));
  const select = `SELECT 1 FROM ${quote(shape.table)} WHERE ${conditions.join(" AND ")} LIMIT 1`;
  const limited = connection.flavour === "mariadb"
    ? `SET STATEMENT max_statement_time = ${LOOK_SEC_MAX} FOR ${select}`
    : select.replace("SELECT", `SELECT /*+ MAX_EXECUTION_TIME(${LOOK_SEC_MAX * 1_000}) */`);
  const bound = conditions.flatMap((it, i) => Array(it.split("?").length - 1).fill(boundValue(values[i])));
  try {
    return (await connection.execute(limited, bound)).length > 0;
  } catch (error) {
    if (classify(error, connection.flavour) === "lost") throw error;
    return false;
  }
}

function conditionOf(column: string, value: SqlValue): string {
  if (typeof value === "number" && !Number.isInteger(value)) return `ABS(${column} - ?) <= ABS(?) / 1e6`;
  if (typeof value === "string" && TIME.test(value)) {
    return `ABS(TIMESTAMPDIFF(MICROSECOND, ${column}, ?)) < 1000000`;
  }
  return `${column} <=> ?`;
}
