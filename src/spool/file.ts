/**
 * The spool's SQLite file: opened in WAL mode with `synchronous=FULL`, with its tables, prepared statements and one
 * transaction that may stay open for company.
 *
 * `begin` opens the transaction if none is open; `commit` is the fsync. An error inside rolls everything back, with
 * whatever had joined it; whoever meets one must read its state anew. `kindOf` says what an error means.
 */
import { DatabaseSync, type SQLInputValue, type StatementSync } from "node:sqlite";

/** The smallest pages: a commit of ten small messages rewrites few bytes that it does not need, and the card is spared. */
const PAGE_BYTES = 512;
/** The log is written back into the file when it has grown so far; it grows further only while a reader is in the way. */
export const LOG_BYTES = 4 * 1024 * 1024;
/** After that the file of the log is made so small again. */
const LOG_BYTES_KEPT = 2 * LOG_BYTES;

/** How long another program that writes to the file is waited for. */
const BUSY_TIMEOUT_MS = 5_000;

const PRAGMAS = [
  // First: all others may meet somebody who reads a log that a crash has left (SQLITE_BUSY_RECOVERY, 261).
  `busy_timeout = ${BUSY_TIMEOUT_MS}`,
  `page_size = ${PAGE_BYTES}`,
  "journal_mode = WAL",
  "synchronous = FULL",
  `wal_autocheckpoint = ${LOG_BYTES / PAGE_BYTES}`,
  `journal_size_limit = ${LOG_BYTES_KEPT}`,
  "cache_size = -8000",
];

/**
 * `lane.kept`: everything after it is on disk. `settled`: done with. `written`: what the ledger says. In (settled,
 * counted] there wait `waiting` deliveries. `identity`: where it is not the spool's. Later rows of `journal` overrule the lanes' (see `journal.ts`).
 * `dead.counted`: in the totals. `gone`: only its number is left. `route.first`: no delivery before it went to this route.
 */
const SCHEMA = `
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE lane (
  id INTEGER PRIMARY KEY, name TEXT UNIQUE, settled INTEGER NOT NULL, written INTEGER NOT NULL, kept INTEGER NOT NULL,
  counted INTEGER NOT NULL, waiting INTEGER NOT NULL, identity TEXT
);
CREATE TABLE route (id INTEGER PRIMARY KEY, name TEXT UNIQUE, first INTEGER NOT NULL DEFAULT 0);
CREATE TABLE journal (
  id INTEGER PRIMARY KEY, receipts BLOB, lanes TEXT, highest INTEGER, received INTEGER, duplicate INTEGER,
  unrouted INTEGER, routed INTEGER, deliveries INTEGER, stored INTEGER, filtered INTEGER, dead INTEGER,
  dropped INTEGER, "rows" INTEGER, crc INTEGER
);
CREATE TABLE memory (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE dead (
  id INTEGER PRIMARY KEY AUTOINCREMENT, lane TEXT, sequence INTEGER, route TEXT, received_at REAL, topic TEXT,
  payload BLOB, qos INTEGER, retain INTEGER, reason TEXT, errno INTEGER, counted INTEGER DEFAULT 0,
  gone INTEGER DEFAULT 0, UNIQUE (lane, sequence)
);
CREATE TABLE request (id INTEGER PRIMARY KEY AUTOINCREMENT, ask TEXT NOT NULL, answer TEXT);
PRAGMA user_version = 3;
`;
export const VERSION = 3;
/** A version beyond that is damage. */
const VERSIONS_MAX = 1_000;

/** `full`, `busy`: it passes. `damage`: of the content. `failed`: all others, of the disk or of this program. */
export type ErrorKind = "full" | "busy" | "damage" | "failed";

/** What is on disk is not what was written; SQLite may not see it. */
export class DamageError extends Error {}

const KINDS: Readonly<Record<number, ErrorKind>> = {
  5: "busy",
  6: "busy",
  11: "damage",
  13: "full",
  26: "damage",
};

/** SQLITE_IOERR_SHMSIZE: there is no room for the index of the log, of all things. */
const NO_ROOM_FOR_INDEX = 4874;

export function kindOf(error: unknown): ErrorKind {
  if (error instanceof DamageError) return "damage";
  const { errcode = 0 } = error as { errcode?: number };
  return errcode === NO_ROOM_FOR_INDEX ? "full" : KINDS[errcode & 255] ?? "failed";
}

export class SpoolFile {
  readonly path: string;
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  #open = false;

  /**
   * Opens or makes the file; read-only it must be there, and is left as it is. Throws SQLite's error, with `errcode`,
   * where it is no database or damaged.
   */
  constructor(path: string, { readOnly = false }: { readOnly?: boolean } = {}) {
    this.path = path;
    this.#db = new DatabaseSync(path, { readOnly });
    try {
      if (readOnly) this.get("SELECT count(*) FROM sqlite_schema");
      else this.#prepareFile();
    } catch (error) {
      this.#db.close();
      throw error;
    }
  }

  #prepareFile(): void {
    // Prepared, because `exec` throws errors without a code.
    for (const pragma of PRAGMAS) this.#db.prepare(`PRAGMA ${pragma}`).all();
    const { n } = this.get<{ n: number }>("SELECT count(*) AS n FROM sqlite_schema")!;
    if (n > 0) return this.#checkVersion();
    this.begin();
    this.#db.exec(SCHEMA);
    this.run("INSERT INTO meta (key, value) VALUES ('identity', ?)", crypto.randomUUID());
    this.commit();
  }

  #checkVersion(): void {
    const { user_version: version } = this.get<{ user_version: number }>("PRAGMA user_version")!;
    if (version === VERSION) return;
    if (version < 1 || version > VERSIONS_MAX) throw new TypeError(`its version is ${version}`);
    throw new Error(`the spool ${this.path} has version ${version}, this program reads ${VERSION}`);
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

  /** Whether a transaction is open. */
  get open(): boolean {
    return this.#open;
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

  /** Throws where any page is not what it should be; reads the whole file. */
  check(): void {
    const { integrity_check: verdict } = this.get<{ integrity_check: string }>("PRAGMA integrity_check(1)")!;
    if (verdict !== "ok") throw new DamageError(verdict.replace(/^\*\*\* /, ""));
  }

  /** Writes the log back into the file as far as nobody reads it, so that it begins anew instead of growing. */
  checkpoint(): void {
    this.all("PRAGMA wal_checkpoint(PASSIVE)");
  }

  /** Writes the log back and cuts it off, unless somebody reads it. Does not wait. */
  cutLog(): void {
    this.all("PRAGMA busy_timeout = 0");
    try {
      this.all("PRAGMA wal_checkpoint(TRUNCATE)");
    } finally {
      this.all(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`);
    }
  }

  /** Bytes in use: what is free inside the file does not count. */
  get bytes(): number {
    return this.#pages("page_count") * PAGE_BYTES - this.freeBytes;
  }

  /** Bytes inside the file that are free to be used again. */
  get freeBytes(): number {
    return this.#pages("freelist_count") * PAGE_BYTES;
  }

  #pages(pragma: "page_count" | "freelist_count"): number {
    return this.get<Record<string, number>>(`PRAGMA ${pragma}`)![pragma];
  }

  #prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (!statement) this.#statements.set(sql, statement = this.#db.prepare(sql));
    return statement;
  }

  /** What was not committed is lost. */
  close(): void {
    this.#db.close();
  }
}
