/**
 * The embedded database's thread: SQLite is synchronous, and its fsync must not hold up anything else.
 *
 * The module is both sides, as the spool's worker is: `startWorker` starts it, and inside that worker it serves.
 */
import { DatabaseSync } from "node:sqlite";
import { type ColumnType, parseColumnType } from "../column_type.ts";
import type { Refused } from "../contracts.ts";
import type { Row, RowColumn, Shape, SqlValue } from "../message.ts";
import { startThread } from "../thread.ts";

const NAME = "sluice-sqlite";

export type SqliteRequest =
  | { op: "open"; path: string; createTables: boolean; addColumns: boolean }
  | { op: "begin"; spool: string; lane: string }
  | { op: "insert"; rows: readonly Row[] }
  | { op: "commit"; spool: string; lane: string; last: number }
  | { op: "rollback" }
  | { op: "close" };

/** `kind` as the sink's errors: `schema` stalls the lane, everything else is waited out. */
export type SqliteReply =
  | { ok: true; value: unknown }
  | { ok: false; message: string; kind: "schema" | "unknown"; errno: number | null };

class SchemaError extends Error {}

const quote = (name: string) => `"${name.replaceAll('"', '""')}"`;

/** SQLite types by family; SQLite itself checks nothing, so `fits` does. */
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
const BY_ROLE: Readonly<Record<Exclude<RowColumn["role"], "value">, string>> = {
  received: "TEXT NOT NULL",
  topic: "TEXT NOT NULL",
  payload: "BLOB NOT NULL",
  qos: "INTEGER NOT NULL",
  retain: "INTEGER NOT NULL",
  gateway: "TEXT NOT NULL",
  sequence: "INTEGER NOT NULL",
  level: "TEXT NOT NULL",
};

export function columnSql({ name, type, role }: RowColumn, sample: SqlValue | undefined): string {
  if (type !== undefined) return `${quote(name)} ${AFFINITY[parseColumnType(type).family]}`;
  if (role !== "value") return `${quote(name)} ${BY_ROLE[role]}`;
  const inferred = typeof sample === "string"
    ? "TEXT"
    : sample instanceof Uint8Array
    ? "BLOB"
    : typeof sample === "number" || sample === null || sample === undefined
    ? "REAL"
    : "INTEGER";
  return `${quote(name)} ${inferred}`;
}

export function createTableSql(shape: Shape, rows: readonly Row[]): string {
  const sampleOf = (i: number) =>
    rows.map((row) => row.values[i]).find((value) => value !== null && value !== undefined);
  const ownId = shape.key.length === 0 && !shape.columns.some((it) => it.name.toLowerCase() === "id");
  const lines = [
    ...(ownId ? ['"id" INTEGER PRIMARY KEY AUTOINCREMENT'] : []),
    ...shape.columns.map((column, i) => columnSql(column, sampleOf(i))),
    ...(shape.key.length > 0 ? [`PRIMARY KEY (${shape.key.map(quote).join(", ")})`] : []),
  ];
  return `CREATE TABLE ${quote(shape.table)} (${lines.join(", ")})`;
}

class Embedded {
  readonly #db: DatabaseSync;
  readonly #createTables: boolean;
  readonly #addColumns: boolean;
  /** Declared types of each table's columns; forgotten when the schema changes. */
  readonly #columns = new Map<string, Map<string, string>>();

  constructor(
    { path, createTables, addColumns }: { path: string; createTables: boolean; addColumns: boolean },
  ) {
    this.#createTables = createTables;
    this.#addColumns = addColumns;
    this.#db = new DatabaseSync(path);
    this.#db.exec("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA busy_timeout=5000");
    this.#db.exec(
      "CREATE TABLE IF NOT EXISTS sluice_ledger (spool TEXT, lane TEXT, upto INTEGER, updated_at TEXT, PRIMARY KEY (spool, lane))",
    );
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
      const reason = misfit(row, columns) ?? this.#insertOne(row);
      if (reason) {
        refused.set(row.sequence, { sequence: row.sequence, reason: reason.reason, errno: reason.errno });
      }
    }
    return [...refused.values()];
  }

  #insertOne({ shape, values }: Row): { reason: string; errno: number } | null {
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
      this.#db.prepare(sql).run(...values.map((it) => typeof it === "boolean" ? Number(it) : it));
      return null;
    } catch (error) {
      const { errcode, message } = error as { errcode?: number; message: string };
      // SQLITE_CONSTRAINT (19), with its kinds in the higher bits: the row's own fault.
      if (errcode !== undefined && (errcode & 0xff) === 19) return { reason: message, errno: errcode };
      throw error;
    }
  }

  /** The columns of the row's table, which is made or widened where that is allowed. */
  #table({ shape }: Row, rows: readonly Row[]): Map<string, string> {
    let columns = this.#columns.get(shape.table) ?? this.#describe(shape.table);
    if (columns.size === 0) {
      if (!this.#createTables) throw new SchemaError(`there is no table ${shape.table}`);
      this.#db.exec(createTableSql(shape, rows.filter((it) => it.shape === shape)));
      columns = this.#describe(shape.table);
    }
    shape.columns.forEach((column, i) => {
      if (columns.has(column.name.toLowerCase())) return;
      if (!this.#addColumns) throw new SchemaError(`table ${shape.table} has no column ${column.name}`);
      const sample = rows.find((it) => it.shape === shape && it.values[i] !== null)?.values[i];
      this.#db.exec(
        `ALTER TABLE ${quote(shape.table)} ADD COLUMN ${columnSql(column, sample).replace(" NOT NULL", "")}`,
      );
      columns = this.#describe(shape.table);
    });
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

/** What MySQL would refuse and SQLite would not: a text in a column of numbers. */
function misfit(
  { shape, values }: Row,
  types: ReadonlyMap<string, string>,
): { reason: string; errno: number } | null {
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    const type = types.get(shape.columns[i].name.toLowerCase()) ?? "";
    if (
      typeof value === "string" && /REAL|INT/.test(type) &&
      (value.trim() === "" || !Number.isFinite(Number(value)))
    ) {
      return {
        reason: `column ${shape.columns[i].name}: ${JSON.stringify(value.slice(0, 40))} is not a number`,
        errno: 20,
      };
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
