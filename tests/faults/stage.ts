/**
 * The gateway with a database that is about to fail: broker, database, the program, and two proxies in a row between
 * the last two. `near` is the gateway's side, `far` the database's: cut `near`, and what `far` holds is still to come.
 *
 * Each lane is a table with a column `id`. What the broker accepts is told to the oracle; `settle` waits until all
 * of it is stored or dead, and fails unless exactly what was meant to be stored is, once.
 */
import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { createConnection } from "mysql2/promise";
import { LEDGER_SQL } from "../../src/mysql/ddl.ts";
import { checkSums, Sluice, type StatusJson } from "../e2e/sluice.ts";
import type { Database, DatabaseOptions, Flavour, ResultRow } from "../servers/database.ts";
import { type Mosquitto, startMosquitto } from "../servers/mosquitto.ts";
import { START } from "../servers/needs.ts";
import { type FaultProxy, startProxy } from "../servers/proxy.ts";
import { openPublisher, type Publisher } from "../servers/publisher.ts";
import { waitFor } from "../servers/wait_for.ts";
import { complaint, type Fate, Oracle, type Verdict } from "./oracle.ts";

export interface StageOptions {
  readonly flavour: Flavour;
  /** Tables, each with its columns besides `id` as SQL. Default: `a` and `b`, with a note of four characters. */
  readonly tables?: Readonly<Record<string, string>>;
  /** Statements before the tables are made. */
  readonly before?: readonly string[];
  /** Columns of the routes besides `id`. Default: `note`. */
  readonly columns?: Readonly<Record<string, unknown>>;
  /** For all routes. */
  readonly route?: Record<string, unknown>;
  /** Instead of one route for each table. */
  readonly routes?: readonly unknown[];
  readonly database?: DatabaseOptions;
  /** A server that is there already, and stays; else one is started with the options above. */
  readonly server?: Database;
  /** `user:password` of the gateway. Default: `sluice`, who may do everything with the tables' database. */
  readonly user?: string;
  /** What that user is granted, e.g. "INSERT ON t.a"; the ledger is there then. */
  readonly grants?: readonly string[];
  /** Goes over `database` of the configuration. */
  readonly config?: Record<string, unknown>;
}

/** A message as a test means it. */
export interface Meant {
  readonly id: string;
  /** Default "row". */
  readonly fate?: Fate;
  readonly [column: string]: unknown;
}

/** Where rows are looked for; default: where they were meant to go. */
export interface Place {
  readonly database?: Database;
  readonly tables?: readonly string[];
}

/** A dead letter as it lies in the spool. */
export interface StoredLetter {
  readonly lane: string;
  readonly route: string;
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly receivedAtMs: number;
  readonly qos: number;
  readonly reason: string;
  readonly errno: number | null;
}

const BURST = 10;
const PAUSE_MS = 5;

export class Stage implements AsyncDisposable {
  readonly oracle = new Oracle();
  readonly #counts = new Map<string, number>();
  readonly #streams = new Set<() => Promise<void>>();

  private constructor(
    readonly broker: Mosquitto,
    readonly database: Database,
    readonly near: FaultProxy,
    readonly far: FaultProxy,
    readonly sluice: Sluice,
    readonly schema: string,
    readonly tables: readonly string[],
    readonly config: Readonly<Record<string, unknown>>,
    readonly publisher: Publisher,
    readonly stack: AsyncDisposableStack,
  ) {}

  static async start(options: StageOptions): Promise<Stage> {
    const { flavour, tables = { a: "note varchar(4)", b: "note varchar(4)" } } = options;
    await using stack = new AsyncDisposableStack();
    const broker = stack.use(await startMosquitto({ persistence: true }));
    const database = options.server ?? stack.use(await START[flavour](options.database));
    const far = stack.use(await startProxy({ target: database.port, log: false }));
    const near = stack.use(await startProxy({ target: far.port, log: false }));
    const schema = await database.createDatabase();
    for (const sql of options.before ?? []) await database.admin(sql.replace(/\bt\./g, `${schema}.`));
    for (const [table, columns] of Object.entries(tables)) {
      await database.admin(`CREATE TABLE ${schema}.\`${table}\` ${columnsSql(columns)}`);
    }
    const { columns = { note: "$.note" }, route = {}, user = "sluice:secret", grants = [] } = options;
    if (grants.length > 0) {
      await database.admin(LEDGER_SQL.replace("sluice_ledger", `${schema}.sluice_ledger`));
    }
    for (const it of grants) {
      const grantee = `${user.split(":")[0]}@'%'`;
      await database.admin(`GRANT ${it.replace(/\bt\./g, `${schema}.`)} TO ${grantee}`);
    }
    const config = {
      broker: { url: broker.url },
      database: {
        url: `${near.url("mysql")}/${schema}`.replace("//", `//${user}@`),
        pool: { timeout: "5s", pingTimeout: "500ms" },
        ...options.config,
      },
      routes: options.routes ?? [{
        topic: "Home/{table}/data",
        table: "{table}",
        decode: "json",
        columns: { id: "$.id", ...columns },
        ...route,
      }],
    };
    const sluice = stack.use(await Sluice.start({ config }));
    await sluice.until("the broker to be connected", (it) => it.broker.connected);
    const publisher = stack.use(await openPublisher(broker.url, { qos: 2 }));
    const names = Object.keys(tables);
    return new Stage(
      ...[broker, database, near, far, sluice, schema, names, config, publisher, stack.move()] as const,
    );
  }

  /** Publishes all at once; returns when the broker has accepted them. */
  async publish(table: string, messages: readonly Meant[]): Promise<void> {
    await Promise.all(messages.map(async ({ fate = "row", ...fields }) => {
      const { outcome, sends } = await this.publisher.publish(`Home/${table}/data`, JSON.stringify(fields));
      assert.equal(outcome, "accepted");
      this.oracle.accept(fields.id, fate, sends);
    }));
  }

  /** So many good messages for each of these tables, with ids that were never used. */
  async send(count: number, tables: readonly string[] = this.tables): Promise<void> {
    await Promise.all(tables.map((table) => this.publish(table, this.good(table, count))));
  }

  /** Some messages on every table, until they are stored: every lane is there, with its row in the ledger. */
  async begin(): Promise<void> {
    const { totals } = await this.sluice.status();
    await this.send(5);
    const stored = totals.stored + 5 * this.tables.length;
    await this.sluice.until("every lane to begin", (it) => it.totals.stored === stored);
  }

  good(table: string, count: number): Meant[] {
    const from = this.#counts.get(table) ?? 0;
    this.#counts.set(table, from + count);
    return Array.from({ length: count }, (_, i) => ({ id: `${table}${from + i}`, note: "ok" }));
  }

  /** Publishes good messages on all tables until it is stopped, at the latest by `settle`. */
  stream(tables: readonly string[] = this.tables): () => Promise<void> {
    let running = true;
    const done = (async () => {
      while (running) {
        await this.send(BURST, tables);
        await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
      }
    })();
    const stop = () => (running = false, this.#streams.delete(stop), done);
    this.#streams.add(stop);
    return stop;
  }

  /** Waits until `count` more are stored than now. */
  async flowing(count = 50): Promise<void> {
    const { totals } = await this.sluice.status();
    await this.sluice.until(`${count} more to be stored`, (it) => it.totals.stored >= totals.stored + count);
  }

  /** Waits until a lane is held up; returns its reason. */
  async stalled(lane: string): Promise<string> {
    const status = await this.sluice.until(
      `lane ${lane} to stall`,
      ({ lanes }) => lanes[lane]?.state === "stalled",
    );
    return status.lanes[lane].reason ?? "";
  }

  /** Waits until every accepted message is where it belongs; in other tables or another database where these are given. */
  async settle(place: Place = {}): Promise<{ status: StatusJson; verdict: Verdict }> {
    const verdict = await this.judged(place);
    assert.equal(complaint(verdict), null, this.sluice.output);
    return { status: await this.sluice.status(), verdict };
  }

  /** Waits until nothing is missing, and tells what became of everything. */
  async judged({ database = this.database, tables = this.tables }: Place = {}): Promise<Verdict> {
    await Promise.all([...this.#streams].map((stop) => stop()));
    let verdict: Verdict | undefined;
    try {
      await waitFor(async () => {
        const status = await this.sluice.status();
        if (status.totals.pending > 0) return false;
        verdict = await this.oracle.judge(database, this.schema, tables, this.spoolPath);
        checkSums(status);
        return verdict.missing.length === 0;
      }, { what: "everything accepted to be stored or dead", timeoutMs: 60_000 });
    } catch (error) {
      const status = JSON.stringify(await this.sluice.status().catch(String), null, 1);
      throw new Error(
        `${(error as Error).message}\n${verdict && complaint(verdict)}\n${status}\n${this.sluice.output}`,
      );
    }
    return verdict!;
  }

  /** Dead letters, oldest first, as they lie in the spool. */
  letters(): StoredLetter[] {
    const spool = new DatabaseSync(this.spoolPath, { readOnly: true });
    try {
      return spool.prepare(
        "SELECT lane, route, topic, payload, received_at AS receivedAtMs, qos, reason, errno FROM dead ORDER BY id",
      ).all() as unknown as StoredLetter[];
    } finally {
      spool.close();
    }
  }

  get spoolPath(): string {
    return `${this.sluice.dir}/spool.db`;
  }

  /** One statement as root, in the tables' database. `t.` stands for its name. */
  admin(sql: string): Promise<ResultRow[]> {
    return this.database.admin(sql.replace(/\bt\./g, `${this.schema}.`));
  }

  /** A session in the tables' database, to hold locks with; of root unless a `user:password` is given. */
  async session(as = "root"): Promise<
    { query: (sql: string) => Promise<unknown>; [Symbol.asyncDispose]: () => Promise<void> }
  > {
    const [user, password] = as.split(":");
    const connection = await createConnection({
      socketPath: this.database.socket,
      user,
      password,
      database: this.schema,
    });
    connection.on("error", () => {});
    return {
      query: (sql) => connection.query(sql),
      [Symbol.asyncDispose]: () => connection.end().catch(() => connection.destroy()),
    };
  }

  /** The gateway's connections, as the server sees them. */
  async threads(user = "sluice"): Promise<number[]> {
    const rows = await this.admin(`SELECT id FROM information_schema.processlist WHERE user = '${user}'`);
    return rows.map((row) => Number(row.id ?? row.ID));
  }

  /** Waits until a transaction waits for a lock. InnoDB shows the same picture to who asks again within 100 ms. */
  async lockWait(): Promise<void> {
    await waitFor(async () => {
      const [{ n }] = await this.admin(
        "SELECT count(*) AS n FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'",
      );
      return Number(n) > 0;
    }, { what: "the gateway to wait for a lock", intervalMs: 200 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const streams = [...this.#streams].map((stop) => stop());
    await this.stack.disposeAsync();
    await Promise.all(streams).catch(() => {});
  }
}

/** The columns of every table of a stage, and these. */
export function columnsSql(columns: string): string {
  return `(no bigint AUTO_INCREMENT PRIMARY KEY, id varchar(40), ${columns}, KEY (id))`;
}

/** True for the packet that ends a transaction. */
export function isCommit(chunk: Uint8Array): boolean {
  return chunk.length < 40 && new TextDecoder("latin1").decode(chunk).endsWith("COMMIT");
}
