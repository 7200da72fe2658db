/**
 * What the user may do, asked of the server itself: each statement that the gateway will send is prepared and thrown
 * away, for the server checks privileges, roles and columns of a statement when it is prepared. Grants are not read:
 * they come from users, roles, patterns and revocations, and every server writes them differently.
 *
 * Changes nothing. An ALTER is checked only when it runs: what is tried is one that is sure to fail.
 */
import { messageOf } from "../errors.ts";
import { HOUR_COLUMN, hourlyTable } from "../hourly.ts";
import type { Shape } from "../message.ts";
import { designOf } from "../table_design.ts";
import { errnoOf } from "./classify.ts";
import type { Mends, TableFinding } from "./compare.ts";
import type { MysqlConnection } from "./connect.ts";
import { LEDGER_SQL, quote } from "./ddl.ts";
import type { TableFacts } from "./inspect.ts";
import { tableFacts } from "./table_facts.ts";

/** MySQL and MariaDB: table access denied, column access denied. */
const DENIED = [1142, 1143];
/** What `compareTable` knows better: unknown column, no such table, a computed column is written. */
const KNOWN_OTHERWISE = [1054, 1146, 3105];

/** Who we are and where, as GRANT wants it. */
export interface Account {
  readonly user: string;
  readonly database: string;
}

export async function accountOf(connection: MysqlConnection): Promise<Account> {
  const [{ account, name }] = await connection.query("SELECT CURRENT_USER() AS account, DATABASE() AS name");
  const at = String(account).lastIndexOf("@");
  const part = (text: string) => `'${text.replaceAll("'", "''")}'`;
  return { user: `${part(account.slice(0, at))}@${part(account.slice(at + 1))}`, database: String(name) };
}

/**
 * What the user lacks for the rows of a shape, with the GRANT that mends it. `facts`: null where there is no table.
 * `template`: the table is one of many, with this name for all of them.
 */
export async function missingPrivileges(
  connection: MysqlConnection,
  shape: Shape,
  facts: TableFacts | null,
  { createTables, addColumns }: Mends,
  account: Account,
  template?: string,
): Promise<TableFinding[]> {
  const overwrites = shape.onDuplicateKey !== "error";
  const needed = ["INSERT", ...(overwrites ? ["SELECT", "UPDATE"] : [])];
  const denied: string[] = [];
  const findings: TableFinding[] = [];
  if (facts === null && createTables) {
    if (await isDenied(connection, `CREATE TABLE ${quote(shape.table)} (a INT)`)) denied.push("CREATE");
  }
  const error = await preparing(connection, insertSql(shape));
  const errno = errnoOf(error);
  if (errno !== null && DENIED.includes(errno)) denied.push(...needed);
  else if (error && !KNOWN_OTHERWISE.includes(errno ?? 0)) findings.push(unfitting(shape, error, errno));
  if (
    facts?.kind === "table" && addColumns &&
    await isRefused(connection, shape.table, (it) => `DROP COLUMN ${it}`)
  ) {
    denied.push("ALTER");
  }
  return [
    ...noGrant(denied, template ?? shape.table, grantOn(account, shape.table, template), account),
    ...findings,
  ];
}

/** In GRANT a database's name is a pattern, in which _ stands for any character, unless a table's name follows. */
function grantOn({ database }: Account, table: string, template?: string): string {
  return template === undefined
    ? `${quote(database)}.${quote(table)}`
    : `${quote(database.replace(/[_%]/g, "\\$&"))}.*`;
}

function noGrant(denied: readonly string[], called: string, on: string, { user }: Account): TableFinding[] {
  if (denied.length === 0) return [];
  const message = `the user ${user} may not ${inWords(denied, called)}`;
  return [{
    severity: "error",
    code: "no-grant",
    message,
    sql: `GRANT ${denied.join(", ")} ON ${on} TO ${user}`,
  }];
}

const VERBS: Readonly<Record<string, string>> = {
  CREATE: "make the table",
  INSERT: "insert into",
  SELECT: "read",
  UPDATE: "overwrite rows of",
  DELETE: "remove rows of",
  ALTER: "alter",
  DROP: "drop partitions of",
};

/** "make the table and insert into climate" */
function inWords(privileges: readonly string[], table: string): string {
  const words = [...new Set(privileges)].map((it) => VERBS[it]);
  const list = words.length === 1 ? words[0] : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
  return `${list} ${table}`;
}

/** What the user lacks to remove old rows and to sum up hours. */
export async function upkeepPrivileges(
  connection: MysqlConnection,
  shape: Shape,
  { createTables }: Pick<Mends, "createTables">,
  account: Account,
): Promise<TableFinding[]> {
  const { time, retentionMs, hourly } = designOf(shape);
  if (time === undefined) return [];
  const [table, at] = [quote(shape.table), quote(time)];
  const denied = (sql: string) => isDenied(connection, sql);
  const own: string[] = [];
  if (retentionMs !== undefined) {
    if (await denied(`DELETE FROM ${table} WHERE ${at} < '2000-01-01'`)) own.push("SELECT", "DELETE");
    const { partitions = [] } = await tableFacts(connection, shape.table) ?? {};
    if (partitions.length > 0 && await isRefused(connection, shape.table, (it) => `DROP PARTITION ${it}`)) {
      own.push("ALTER", "CREATE", "INSERT", "DROP");
    }
  }
  if (!hourly) return noGrant(own, shape.table, grantOn(account, shape.table), account);
  if (!own.includes("SELECT") && await denied(`SELECT ${at} FROM ${table}`)) own.push("SELECT");
  const summary = hourlyTable(shape.table);
  const there = await tableFacts(connection, summary) !== undefined;
  const hour = quote(HOUR_COLUMN);
  const theirs = [
    ...(!there && createTables && await denied(`CREATE TABLE ${quote(summary)} (a INT)`) ? ["CREATE"] : []),
    ...(await denied(
        `INSERT INTO ${
          quote(summary)
        } (${hour}) VALUES (?) ON DUPLICATE KEY UPDATE ${hour} = VALUES(${hour})`,
      )
      ? ["SELECT", "INSERT", "UPDATE"]
      : []),
  ];
  return [
    ...noGrant(own, shape.table, grantOn(account, shape.table), account),
    ...noGrant(theirs, summary, grantOn(account, summary), account),
  ];
}

/** Something else is wrong with inserting there: a view that takes no rows, for one. */
function unfitting({ table }: Shape, error: unknown, errno: number | null): TableFinding {
  return {
    severity: "error",
    code: "not-insertable",
    message: `${table} takes no rows: ${messageOf(error)}${errno === null ? "" : ` (error ${errno})`}`,
  };
}

/** The same for the ledger. Its table is made where it is missing, whatever `createTables` says. */
export async function ledgerFindings(
  connection: MysqlConnection,
  facts: TableFacts | null,
  account: Account,
): Promise<TableFinding[]> {
  if (facts && !/^innodb$/i.test(facts.engine)) {
    return [{
      severity: "error",
      code: "not-transactional",
      message:
        `the gateway's own table sluice_ledger is ${facts.engine}, which has no transactions: after a crash ` +
        "rows would be doubled or lost",
      sql: "ALTER TABLE sluice_ledger ENGINE=InnoDB",
    }];
  }
  const denied: string[] = [];
  if (facts === null && await isDenied(connection, LEDGER_SQL)) denied.push("CREATE");
  const statements = [
    "SELECT upto FROM sluice_ledger WHERE spool = '' AND lane = '' FOR UPDATE",
    "INSERT INTO sluice_ledger (spool, lane, upto) VALUES ('', '', 0) ON DUPLICATE KEY UPDATE upto = VALUES(upto)",
  ];
  for (const sql of statements) {
    if (!await isDenied(connection, sql)) continue;
    denied.push("SELECT", "INSERT", "UPDATE");
    break;
  }
  return noGrant(
    denied,
    "sluice_ledger, in which the gateway keeps how far it has come",
    grantOn(account, "sluice_ledger"),
    account,
  );
}

function insertSql({ table, columns, onDuplicateKey }: Shape): string {
  const names = columns.map((it) => quote(it.name));
  const update = onDuplicateKey === "error"
    ? ""
    : ` ON DUPLICATE KEY UPDATE ${
      (onDuplicateKey === "update" ? names : names.slice(0, 1)).map((it) => `${it}=VALUES(${it})`).join(",")
    }`;
  return `INSERT INTO ${quote(table)} (${names.join(",")}) VALUES (${
    names.map(() => "?").join(",")
  })${update}`;
}

async function isDenied(connection: MysqlConnection, sql: string): Promise<boolean> {
  return DENIED.includes(errnoOf(await preparing(connection, sql)) ?? 0);
}

/** What the server says when it prepares the statement; undefined where it has nothing against it. Throws where the connection is gone. */
async function preparing(connection: MysqlConnection, sql: string): Promise<unknown> {
  await connection.execute("SET @sluice_check = ?", [sql]);
  try {
    await connection.query("PREPARE sluice_check FROM @sluice_check");
    await connection.query("DEALLOCATE PREPARE sluice_check");
    return undefined;
  } catch (error) {
    if (errnoOf(error) === null) throw error;
    return error;
  }
}

/** Tries to take away something that is not there. */
async function isRefused(
  connection: MysqlConnection,
  table: string,
  what: (name: string) => string,
): Promise<boolean> {
  const nowhere = `sluice_check_${crypto.randomUUID().replaceAll("-", "")}`;
  try {
    await connection.query(`ALTER TABLE ${quote(table)} ${what(nowhere)}`);
    return false;
  } catch (error) {
    if (errnoOf(error) === null) throw error;
    return DENIED.includes(errnoOf(error)!);
  }
}
