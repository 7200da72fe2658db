/**
 * A table and a sink that writes to it as the table's lane would, without spool and broker: each delivery is a number
 * and its rows. It keeps what was parked, and goes on only after a write that was committed.
 */
import type { Refused, Written } from "../../src/contracts.ts";
import type { OnDuplicateKey, Row, RowColumn, Shape, SqlValue } from "../../src/message.ts";
import { type MysqlSink, type MysqlSinkOptions, openMysqlSink } from "../../src/mysql/sink.ts";
import type { Database } from "../servers/database.ts";

export interface WrittenTableOptions {
  /** As SQL, e.g. "id int, v tinyint, PRIMARY KEY (id)". */
  readonly columns: string;
  /** Names of the columns that are written. Default: id, v. */
  readonly writes?: readonly string[];
  /** Default InnoDB. */
  readonly engine?: string;
  readonly onDuplicateKey?: OnDuplicateKey;
  /** Further statements, as for `admin`. */
  readonly sql?: readonly string[];
  readonly sink?: Partial<MysqlSinkOptions>;
}

const never = new AbortController().signal;

export class WrittenTable implements AsyncDisposable {
  readonly parked: Refused[] = [];
  readonly #shape: Shape;
  readonly #sink: MysqlSink;
  readonly #spool = crypto.randomUUID();
  #committed = 0;
  /** Rows that wait since the last write that failed. */
  #waiting: Row[] = [];
  #last = 0;

  private constructor(readonly database: Database, readonly schema: string, options: WrittenTableOptions) {
    const columns = (options.writes ?? ["id", "v"]).map((name): RowColumn => ({
      name,
      type: undefined,
      role: "value",
    }));
    this.#shape = { table: "t", columns, onDuplicateKey: options.onDuplicateKey ?? "error", key: [] };
    this.#sink = openMysqlSink({
      host: "127.0.0.1",
      port: database.port,
      user: "sluice",
      database: schema,
      password: () => Promise.resolve("secret"),
      ...options.sink,
    });
  }

  static async make(database: Database, options: WrittenTableOptions): Promise<WrittenTable> {
    const schema = await database.createDatabase();
    const { columns, engine = "InnoDB", sql = [] } = options;
    const table = new WrittenTable(database, schema, options);
    await table.admin(`CREATE TABLE here.t (${columns}) ENGINE=${engine}`);
    for (const statement of sql) await table.admin(statement);
    return table;
  }

  /** A delivery with one row for each of these. They wait until they are written. */
  add(...rows: readonly (readonly SqlValue[])[]): number {
    const sequence = ++this.#last;
    this.#waiting.push(...rows.map((values) => ({ sequence, shape: this.#shape, values })));
    return sequence;
  }

  /** Writes what waits, one time. */
  async write(): Promise<Written> {
    const gone = new Set(this.parked.map((it) => it.sequence));
    const written = await this.#sink.write({
      spool: this.#spool,
      lane: "t",
      after: this.#committed,
      last: this.#last,
      highest: this.#last,
      rows: this.#waiting.filter((row) => !gone.has(row.sequence)),
      park: (refused) => Promise.resolve(void this.parked.push(...refused)),
    }, never);
    this.#committed = this.#last;
    this.#waiting = [];
    return written;
  }

  /** As root. `here.` stands for the database, `here.t` is the table. */
  admin(sql: string): ReturnType<Database["admin"]> {
    return this.database.admin(sql.replace(/\bhere\./g, `${this.schema}.`));
  }

  /** Values of a column, in the order of the primary key where there is one. */
  async stored(column = "id"): Promise<string[]> {
    const rows = await this.admin(`SELECT ${column} AS value FROM here.t`);
    return rows.map(({ value }) => String(value));
  }

  /** How many statements of this kind the server has run for the whole of `action`. */
  async count(kind: "insert" | "savepoint", action: () => Promise<unknown>): Promise<number> {
    const read = async () => {
      const [{ Value }] = await this.database.admin(`SHOW GLOBAL STATUS LIKE 'Com_${kind}'`);
      return Number(Value);
    };
    const before = await read();
    await action();
    return await read() - before;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#sink[Symbol.asyncDispose]();
    await this.database.admin(`DROP DATABASE ${this.schema}`);
  }
}
