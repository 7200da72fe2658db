/**
 * The spool's SQLite file: opened in WAL mode with `synchronous=FULL`, with its tables, prepared statements and one
 * transaction that may stay open for company.
 *
 * `begin` opens the transaction if none is open; `commit` is the fsync. An error inside rolls everything back, with
 * whatever had joined it; whoever meets one must read its state anew.
 */
import { DatabaseSync, type SQLInputValue, type StatementSync } from "node:sqlite";

/** Small pages: a commit of ten small messages writes few of them, and the card is spared. */
const PRAGMAS = [
  "page_size = 1024",
  "journal_mode = WAL",
  "synchronous = FULL",
  "busy_timeout = 5000",
  "wal_autocheckpoint = 4000",
  "journal_size_limit = 16777216",
  "cache_size = -8000",
];

/**
 * `kept`: everything after it is on disk. `settled`: done with. `written`: what the ledger says. `counted`: in the totals.
 * `gone`: only its number is left. `route.first`: no delivery before it went to this route.
 */
const SCHEMA = `
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE lane (id INTEGER PRIMARY KEY, name TEXT UNIQUE, settled INTEGER NOT NULL, written INTEGER NOT NULL, kept INTEGER NOT NULL);
CREATE TABLE route (id INTEGER PRIMARY KEY, name TEXT UNIQUE, first INTEGER NOT NULL DEFAULT 0);
CREATE TABLE arrival (id INTEGER PRIMARY KEY, receipts BLOB);
CREATE TABLE memory (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE dead (
  id INTEGER PRIMARY KEY AUTOINCREMENT, lane TEXT, sequence INTEGER, route TEXT, received_at REAL, topic TEXT,
  payload BLOB, qos INTEGER, retain INTEGER, reason TEXT, errno INTEGER, counted INTEGER DEFAULT 0,
  gone INTEGER DEFAULT 0, UNIQUE (lane, sequence)
);
CREATE TABLE request (id INTEGER PRIMARY KEY AUTOINCREMENT, ask TEXT NOT NULL, answer TEXT);
PRAGMA user_version = 2;
`;
export const VERSION = 2;

export class SpoolFile {
  readonly path: string;
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  #open = false;

  /** Opens or makes the file. Throws SQLite's error, with `errcode`, where it is no database or damaged. */
  constructor(path: string) {
    this.path = path;
    this.#db = new DatabaseSync(path);
    try {
      // Prepared, because `exec` throws errors without a code.
      for (const pragma of PRAGMAS) this.#db.prepare(`PRAGMA ${pragma}`).all();
      const { n } = this.get<{ n: number }>("SELECT count(*) AS n FROM sqlite_schema")!;
      if (n === 0) {
        this.begin();
        this.#db.exec(SCHEMA);
        this.run("INSERT INTO meta (key, value) VALUES ('identity', ?)", crypto.randomUUID());
        this.commit();
      }
      const { user_version } = this.get<{ user_version: number }>("PRAGMA user_version")!;
      if (user_version !== VERSION) {
        throw new Error(`the spool ${path} has version ${user_version}, this program reads ${VERSION}`);
      }
    } catch (error) {
      this.#db.close();
      throw error;
    }
  }

  run(sql: string, ...values: SQLInputValue[]): number {
    return Number(this.#prepare(sql).run(...values).changes);
  }

  get<T>(sql: string, ...values: SQLInputValue[]): T | undefined {
    return this.#prepare(sql).get(...values) as T | undefined;
  }

  all<T>(sql: string, ...values: SQLInputValue[]): T[] {
    return this.#prepare(sql).all(...values) as T[];
  }

  iterate<T>(sql: string, ...values: SQLInputValue[]): Iterable<T> {
    return this.#prepare(sql).iterate(...values) as Iterable<T>;
  }

  /** A statement without values that is not worth keeping, such as DDL. */
  exec(sql: string): void {
    this.#db.prepare(sql).run();
  }

  begin(): void {
    if (this.#open) return;
    this.run("BEGIN IMMEDIATE");
    this.#open = true;
  }

  commit(): void {
    if (!this.#open) return;
    this.#open = false;
    this.run("COMMIT");
  }

  /** SQLite may have rolled back by itself already. */
  rollback(): void {
    this.#open = false;
    if (this.#db.isTransaction) this.run("ROLLBACK");
  }

  /** Bytes in use: what is free inside the file does not count. */
  get bytes(): number {
    const { page_count } = this.get<{ page_count: number }>("PRAGMA page_count")!;
    const { freelist_count } = this.get<{ freelist_count: number }>("PRAGMA freelist_count")!;
    const { page_size } = this.get<{ page_size: number }>("PRAGMA page_size")!;
    return (page_count - freelist_count) * page_size;
  }

  #prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (!statement) this.#statements.set(sql, statement = this.#db.prepare(sql));
    return statement;
  }

  close(): void {
    this.commit();
    this.#db.close();
  }
}
