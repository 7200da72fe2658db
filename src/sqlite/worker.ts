/**
 * The embedded database's thread: SQLite is synchronous, and its fsync must not hold up anything else.
 *
 * The module is both sides, as the spool's worker is: `startWorker` starts it, and inside that worker it serves.
 */
import { DatabaseSync, type StatementSync } from "node:sqlite";
import type { Refused } from "../contracts.ts";
import type { Row, SqlValue } from "../message.ts";
import { startThread } from "../thread.ts";
import { addColumnSql, createTableSql, LEDGER_SQL, quote } from "./ddl.ts";
import type { SqlResult } from "./upkeep.ts";

const NAME = "sluice-sqlite";

export type SqliteRequest =
  | { op: "open"; path: string; createTables: boolean; addColumns: boolean }
  | { op: "begin"; spool: string; lane: string }
  | { op: "insert"; rows: readonly Row[] }
  | { op: "commit"; spool: string; lane: string; last: number }
  | { op: "rollback" }
  | { op: "run"; sql: string; values: readonly SqlValue[] }
  | { op: "close" };

/** `kind` as the sink's errors: `schema` stalls the lane, everything else is waited out. */
export type SqliteReply =
  | { ok: true; value: unknown }
  | { ok: false; message: string; kind: "schema" | "unknown"; errno: number | null };

class SchemaError extends Error {}

const STATEMENTS_MAX = 500;
const INTEGER_MAX = 2n ** 63n - 1n, INTEGER_MIN = -(2n ** 63n);
/** SQLITE_MISMATCH. */
const MISMATCH = 20;

/**
 * What SQLite binds without altering it. Its INTEGER has 64 bits: what is larger goes as its digits. The driver binds
 * every number as a double, which a column of texts would write with its own digits. `type`: of the column, in capitals.
 */
function bound(value: SqlValue, type = ""): null | number | bigint | string | Uint8Array {
  if (typeof value === "boolean") return BigInt(value);
  if (typeof value === "number") {
    return Number.isSafeInteger(value) ? BigInt(value) : /CHAR|TEXT|CLOB/.test(type) ? String(value) : value;
  }
  return typeof value === "bigint" && (value > INTEGER_MAX || value < INTEGER_MIN) ? value.toString() : value;
}

class Embedded {
  readonly #db: DatabaseSync;
  readonly #createTables: boolean;
  readonly #addColumns: boolean;
  /** Declared types of each table's columns; forgotten when the schema changes. */
  readonly #columns = new Map<string, Map<string, string>>();
  readonly #statements = new Map<string, StatementSync>();

  constructor(
    { path, createTables, addColumns }: { path: string; createTables: boolean; addColumns: boolean },
  ) {
    this.#createTables = createTables;
    this.#addColumns = addColumns;
    this.#db = new DatabaseSync(path);
    this.#db.exec("PRAGMA busy_timeout=5000; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL");
    this.#db.exec(LEDGER_SQL);
  }

  /** Begins, and returns what the ledger says: null where it has no row. */
  begin(spool: string, lane: string): number | null {
    this.#db.exec("BEGIN IMMEDIATE");
    const row = this.#db.prepare("SELECT upto FROM sluice_ledger WHERE spool = ? AND lane = ?").get(
      spool,
      lane,
    );
    return row === undefined ? null : Number(row.upto);
  }

  /** Inserts what fits and returns what is refused. */
  insert(rows: readonly Row[]): Refused[] {
    const refused = new Map<number, Refused>();
    for (const row of rows) {
      if (refused.has(row.sequence)) continue;
      const columns = this.#table(row, rows);
      const reason = misfit(row, columns) ?? this.#insertOne(row, columns);
      if (reason) {
        refused.set(row.sequence, { sequence: row.sequence, reason: reason.reason, errno: reason.errno });
      }
    }
    return [...refused.values()];
  }

  #insertOne(
    { shape, values }: Row,
    columns: ReadonlyMap<string, string>,
  ): { reason: string; errno: number } | null {
    const names = shape.columns.map((it) => quote(it.name));
    const conflict = shape.onDuplicateKey === "ignore"
      ? " ON CONFLICT DO NOTHING"
      : shape.onDuplicateKey === "update" && shape.key.length > 0
      ? ` ON CONFLICT (${shape.key.map(quote).join(",")}) DO UPDATE SET ${
        names.map((it) => `${it}=excluded.${it}`).join(",")
      }`
      : "";
    const sql = `INSERT INTO ${quote(shape.table)} (${names.join(",")}) VALUES (${
      names.map(() => "?").join(",")
    })${conflict}`;
    try {
      const typed = values.map((it, i) => bound(it, columns.get(shape.columns[i].name.toLowerCase())));
      this.#statement(sql).run(...typed);
      return null;
    } catch (error) {
      const { errcode, message } = error as { errcode?: number; message: string };
      // SQLITE_CONSTRAINT (19), with its kinds in the higher bits: the row's own fault.
      if (errcode !== undefined && (errcode & 0xff) === 19) return { reason: message, errno: errcode };
      throw error;
    }
  }

  /** Prepared once; there is one for each shape. */
  #statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (!statement) {
      if (this.#statements.size >= STATEMENTS_MAX) this.#statements.clear();
      this.#statements.set(sql, statement = this.#db.prepare(sql));
    }
    return statement;
  }

  /** One statement that is a transaction of its own. */
  run(sql: string, values: readonly SqlValue[]): SqlResult {
    const statement = this.#db.prepare(sql);
    if (/^\s*SELECT/.test(sql)) {
      return {
        rows: statement.all(...values.map((it) => bound(it))) as unknown as SqlResult["rows"],
        changes: 0,
      };
    }
    return { rows: [], changes: Number(statement.run(...values.map((it) => bound(it))).changes) };
  }

  /** The columns of the row's table, which is made or widened where that is allowed. */
  #table({ shape }: Row, rows: readonly Row[]): Map<string, string> {
    let columns = this.#columns.get(shape.table) ?? this.#describe(shape.table);
    if (columns.size === 0) {
      if (!this.#createTables) throw new SchemaError(`there is no table ${shape.table}`);
      for (const sql of createTableSql(shape, rows)) this.#db.exec(sql);
      columns = this.#describe(shape.table);
    }
    for (const column of shape.columns) {
      if (columns.has(column.name.toLowerCase())) continue;
      if (!this.#addColumns) throw new SchemaError(`table ${shape.table} has no column ${column.name}`);
      this.#db.exec(addColumnSql(shape, column, rows));
      columns = this.#describe(shape.table);
    }
    this.#columns.set(shape.table, columns);
    return columns;
  }

  #describe(table: string): Map<string, string> {
    const rows = this.#db.prepare(`PRAGMA table_info(${quote(table)})`).all() as {
      name: string;
      type: string;
    }[];
    return new Map(rows.map(({ name, type }) => [name.toLowerCase(), type.toUpperCase()]));
  }

  commit(spool: string, lane: string, last: number): void {
    this.#db.prepare("INSERT OR REPLACE INTO sluice_ledger VALUES (?, ?, ?, datetime('now'))").run(
      spool,
      lane,
      last,
    );
    this.#db.exec("COMMIT");
  }

  rollback(): void {
    this.#columns.clear();
    if (this.#db.isTransaction) this.#db.exec("ROLLBACK");
  }

  close(): void {
    this.#db.close();
  }
}

/** What MySQL would refuse and SQLite would not: a text in a column of numbers, a number that is too large for it. */
function misfit(
  { shape, values }: Row,
  types: ReadonlyMap<string, string>,
): { reason: string; errno: number } | null {
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    const type = types.get(shape.columns[i].name.toLowerCase()) ?? "";
    const refuse = (text: string, what: string) => ({
      reason: `column ${shape.columns[i].name}: ${text} ${what}`,
      errno: MISMATCH,
    });
    if (
      typeof value === "string" && /REAL|INT/.test(type) &&
      (value.trim() === "" || !Number.isFinite(Number(value)))
    ) return refuse(JSON.stringify(value.slice(0, 40)), "is not a number");
    if (typeof value === "bigint" && /INT/.test(type) && (value > INTEGER_MAX || value < INTEGER_MIN)) {
      return refuse(String(value), "is outside of 64 bits");
    }
  }
  return null;
}

export function startWorker(): Worker {
  return startThread(NAME, import.meta.url);
}

function serve(
  scope: { postMessage(message: unknown): void; onmessage: ((event: MessageEvent) => void) | null },
): void {
  let database: Embedded;
  const handle = (request: SqliteRequest): unknown => {
    switch (request.op) {
      case "open":
        database = new Embedded(request);
        return null;
      case "begin":
        return database.begin(request.spool, request.lane);
      case "insert":
        return database.insert(request.rows);
      case "commit":
        return database.commit(request.spool, request.lane, request.last);
      case "rollback":
        return database.rollback();
      case "run":
        return database.run(request.sql, request.values);
      case "close":
        return database.close();
    }
  };
  scope.onmessage = ({ data: { id, request } }) => {
    try {
      scope.postMessage({ id, reply: { ok: true, value: handle(request) ?? null } satisfies SqliteReply });
    } catch (error) {
      const kind = error instanceof SchemaError ? "schema" : "unknown";
      const { errcode, message } = error as { errcode?: number; message: string };
      scope.postMessage({
        id,
        reply: { ok: false, message, kind, errno: errcode ?? null } satisfies SqliteReply,
      });
    }
  };
}

declare const WorkerGlobalScope: unknown;

if (typeof WorkerGlobalScope !== "undefined" && self.name === NAME) serve(self as never);
