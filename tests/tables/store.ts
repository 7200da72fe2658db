/**
 * The three databases as one: a place to write rows to as a lane does, and to look at what became of them.
 *
 * Each test gets a database of its own in it. Rows go through routes, router and sink, so that what is tested is what
 * the gateway does; only spool and broker are left out.
 */
import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { createConnection } from "mysql2/promise";
import { type Clock, systemClock } from "../../src/clock.ts";
import type { Maintained, Router, Sink } from "../../src/contracts.ts";
import type { DeadLetter, Delivery, SqlValue } from "../../src/message.ts";
import { openMysqlSink } from "../../src/mysql/sink.ts";
import { createRouter, validateRoute } from "../../src/route/mod.ts";
import type { RouteOptions } from "../../src/route/options.ts";
import { openSqliteSink } from "../../src/sqlite/sink.ts";
import type { ResultRow } from "../servers/database.ts";
import { START, testWith } from "../servers/needs.ts";

export type Kind = "mariadb" | "mysql" | "sqlite";

export interface SinkOptions {
  /** What the gateway takes for the time when it makes a table. */
  readonly clock?: Clock;
  readonly createTables?: boolean;
  readonly addColumns?: boolean;
}

/** One database with nothing in it. */
export interface Store extends AsyncDisposable {
  readonly kind: Kind;
  readonly sink: Sink;
  /** Another sink of the same database, as another gateway has one. It is closed with the store. */
  another(options?: SinkOptions): Sink;
  /** One statement; numbers that are large as bigint or text, times as text. */
  query(sql: string, values?: readonly unknown[]): Promise<ResultRow[]>;
  /** A name as SQL. */
  name(name: string): string;
}

export interface Server extends AsyncDisposable {
  open(options?: SinkOptions): Promise<Store>;
}

/** Registers one test for each kind of database; each with steps that share a server. */
export function withEachStore(
  title: string,
  run: (t: Deno.TestContext, server: Server, kind: Kind) => Promise<void>,
  kinds: readonly Kind[] = ["mariadb", "mysql", "sqlite"],
): void {
  for (const kind of kinds) {
    testWith(kind === "sqlite" ? [] : [kind], `${title} (${kind})`, async (t) => {
      await using server = await startServer(kind);
      await run(t, server, kind);
    });
  }
}

async function startServer(kind: Kind): Promise<Server> {
  if (kind === "sqlite") {
    const dir = await Deno.makeTempDir({ prefix: "sluice-tables-" });
    let n = 0;
    return {
      open: (options) => Promise.resolve(openSqlite(`${dir}/${++n}.db`, options)),
      [Symbol.asyncDispose]: () => Deno.remove(dir, { recursive: true }),
    };
  }
  const database = await START[kind]();
  return {
    open: async (options) => await openMysql(kind, database.port, await database.createDatabase(), options),
    [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
  };
}

async function openMysql(kind: Kind, port: number, schema: string, options?: SinkOptions): Promise<Store> {
  await using stack = new AsyncDisposableStack();
  const open = (more?: SinkOptions) =>
    stack.use(openMysqlSink({
      ...{ host: "127.0.0.1", port, user: "sluice", database: schema, ...more },
      password: () => Promise.resolve("secret"),
    }));
  const connection = await createConnection({
    ...{ host: "127.0.0.1", port, user: "sluice", password: "secret", database: schema, timezone: "Z" },
    ...{ charset: "utf8mb4", dateStrings: true, supportBigNumbers: true, bigNumberStrings: true },
  });
  const sink = open(options);
  const moved = stack.move();
  return {
    kind,
    sink,
    another: (more) =>
      moved.use(openMysqlSink({
        ...{ host: "127.0.0.1", port, user: "sluice", database: schema, ...more },
        password: () => Promise.resolve("secret"),
      })),
    name: (name) => `\`${name.replaceAll("`", "``")}\``,
    async query(sql, values = []) {
      const [rows] = await connection.query(sql, [...values]);
      return Array.isArray(rows) ? rows as ResultRow[] : [];
    },
    async [Symbol.asyncDispose]() {
      await moved.disposeAsync();
      await connection.end();
    },
  };
}

function openSqlite(path: string, options?: SinkOptions): Store {
  const sink = openSqliteSink({ path, ...options });
  const stack = new AsyncDisposableStack();
  stack.use(sink);
  return {
    kind: "sqlite",
    sink,
    another: (more) => stack.use(openSqliteSink({ path, ...more })),
    name: (name) => `"${name.replaceAll('"', '""')}"`,
    query(sql, values = []) {
      using db = new DatabaseSync(path, { timeout: 5_000 });
      const statement = db.prepare(sql);
      statement.setReadBigInts(true);
      return Promise.resolve(statement.all(...values as SqlValue[] as string[]).map((row) => ({ ...row })));
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** What routes make of messages, written as lanes write it. */
export class Writer {
  readonly router: Router;
  readonly dead: (Omit<DeadLetter, "payload"> & { readonly payload: string })[] = [];
  /** Told of what a settle would write down. */
  onMemory: (key: string, value: string | null) => void = () => {};
  readonly #sink: Sink;
  readonly #spool = crypto.randomUUID();
  readonly #positions = new Map<string, number>();
  #sequence = 0;

  constructor(sink: Sink, routes: readonly RouteOptions[], memory?: ReadonlyMap<string, string>) {
    for (const route of routes) assert.deepEqual(validateRoute(route), []);
    this.#sink = sink;
    this.router = createRouter({ routes, gateway: "attic", memory });
  }

  /** Writes one message, or several of one topic in one batch. Returns how many rows are stored. */
  async write(
    topic: string,
    payloads: unknown,
    receivedAtMs: number = Date.UTC(2026, 0, 1),
  ): Promise<number> {
    let rows = 0;
    for (const { lane, route } of this.router.address(topic)) {
      const deliveries = (Array.isArray(payloads) ? payloads : [payloads]).map((payload): Delivery => ({
        sequence: ++this.#sequence,
        route,
        topic,
        payload: payload instanceof Uint8Array
          ? payload
          : new TextEncoder().encode(typeof payload === "string" ? payload : JSON.stringify(payload)),
        qos: 1,
        retain: false,
        receivedAtMs,
      }));
      rows += await this.#deliver(lane, deliveries);
    }
    return rows;
  }

  async #deliver(lane: string, deliveries: readonly Delivery[]): Promise<number> {
    const decoded = this.router.decode(lane, deliveries);
    this.#bury(decoded.dead);
    const last = deliveries.at(-1)!.sequence;
    const refused = new Set<number>();
    const written = await this.#sink.write({
      spool: this.#spool,
      lane,
      after: this.#positions.get(lane) ?? 0,
      last,
      highest: last,
      rows: decoded.rows,
      park: (refusals) => {
        for (const { sequence, reason, errno } of refusals) {
          refused.add(sequence);
          const delivery = deliveries.find((it) => it.sequence === sequence)!;
          this.#bury([{ ...delivery, lane, reason, errno }]);
        }
        return Promise.resolve();
      },
    }, new AbortController().signal);
    this.#positions.set(lane, last);
    for (const [key, value] of this.router.remember(decoded, refused)) this.onMemory(key, value);
    return written.rows;
  }

  #bury(letters: readonly DeadLetter[]): void {
    this.dead.push(...letters.map((it) => ({ ...it, payload: new TextDecoder().decode(it.payload) })));
  }

  /** Looks after all tables, as the gateway does each hour, until nothing is left to do. */
  async maintain(nowMs: number, sink: Sink = this.#sink): Promise<Maintained[]> {
    const done: Maintained[] = [];
    for (const kept of this.router.kept) {
      for (let more = true; more;) {
        const hours = this.router.takeHours(kept.table);
        const result = await sink.maintain!({ ...kept, nowMs, hours }, new AbortController().signal);
        this.router.returnHours(kept.table, result.hours);
        more = result.more;
        if (!more) done.push(result);
      }
    }
    return done;
  }
}

/** The wall clock at any time that a test wants it to be. */
export class SetClock implements Clock {
  constructor(public ms: number) {}
  now = () => systemClock.now();
  wallMs = () => this.ms;
  timer: Clock["timer"] = (delayMs, callback) => systemClock.timer(delayMs, callback);
}
