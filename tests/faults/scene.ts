/**
 * The smallest world in which a fault of broker or gateway can be judged: a mosquitto, a fault proxy, the gateway
 * behind it, and a table. Publishers talk to the broker directly and note what it has accepted.
 *
 * The table is SQLite's unless a database is given. Judges by accepted = stored + dead, none twice, none in both; and
 * at a kill: whatever was acknowledged on the wire is in the spool, the table or the dead letters.
 */
import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { inflateRawSync } from "node:zlib";
import { checkSums, Sluice, type StatusJson } from "../e2e/sluice.ts";
import type { Database } from "../servers/database.ts";
import { type Mosquitto, type MosquittoOptions, startMosquitto } from "../servers/mosquitto.ts";
import type { Network } from "../servers/network.ts";
import { type FaultProxy, startProxy } from "../servers/proxy.ts";
import { openPublisher, type Publisher, type QoS } from "../servers/publisher.ts";
import { waitFor } from "../servers/wait_for.ts";
import { acknowledged, packets } from "./wire.ts";

export interface SceneOptions {
  readonly mosquitto?: MosquittoOptions;
  /** Default 5. */
  readonly version?: 4 | 5;
  /** Further keys of the configuration; `broker` and `spool` are added to those of the scene. */
  readonly config?: Record<string, unknown>;
  /** Where the table is; default: an SQLite file beside the spool. */
  readonly database?: { readonly server: Database; readonly url: string; readonly schema: string };
  /** Folder for configuration and spool; default: one of its own. */
  readonly dir?: string;
  /** Path of the SQLite file with the table; default: beside the spool. */
  readonly home?: string;
  readonly env?: Record<string, string>;
  /** Goes before the gateway's command. */
  readonly command?: readonly string[];
  /** Where the gateway runs, with the proxy at the near end of its cable. Default: here. */
  readonly network?: Network;
  /** How the gateway calls the proxy, where not by its address. */
  readonly brokerName?: string;
  /** The address of the proxy. Default: the near end of the cable, or 127.0.0.1. */
  readonly brokerHost?: string;
  /** Keep the wire in memory; false for floods. Default true. */
  readonly log?: boolean;
}

export interface PublishOptions {
  /** Default 1. */
  readonly qos?: QoS;
  /** How the ids begin. Default "m". */
  readonly prefix?: string;
  /** Bytes to fill up each payload with. Default 0. */
  readonly payloadBytes?: number;
  /** No JSON, hence dead letters. */
  readonly broken?: boolean;
}

export interface Stream {
  /** Stops publishing and waits until the broker has answered for everything. */
  stop(): Promise<void>;
}

const BURST = 10;

export class Scene implements AsyncDisposable {
  readonly broker: Mosquitto;
  readonly proxy: FaultProxy;
  readonly sluice: Sluice;
  readonly version: 4 | 5;
  /** How often the publisher had to send each message that the broker has accepted, by id. */
  readonly accepted = new Map<string, number>();
  /** Everything that was given to a publisher. */
  readonly sent = new Set<string>();
  /**
   * What a broker that was killed may have lost, and how often it may have sent it anew, under another packet id:
   * messages that it had not written down. See `excuse`.
   */
  readonly #excused = new Map<string, number>();
  /** Sent, and nobody knows whether the broker has it. */
  readonly unknown = new Set<string>();
  readonly #options: SceneOptions;
  readonly #stack: AsyncDisposableStack;
  #lastId = 0;

  private constructor(
    parts: { broker: Mosquitto; proxy: FaultProxy; sluice: Sluice },
    options: SceneOptions,
    stack: AsyncDisposableStack,
  ) {
    this.broker = parts.broker;
    this.proxy = parts.proxy;
    this.sluice = parts.sluice;
    this.version = options.version ?? 5;
    this.#options = options;
    this.#stack = stack;
  }

  /** Starts everything; the gateway is connected and subscribed. */
  static async start(options: SceneOptions = {}): Promise<Scene> {
    await using stack = new AsyncDisposableStack();
    const broker = stack.use(await startMosquitto(options.mosquitto));
    const { dir, env, network, brokerHost = network?.near[0], command = [], log = true } = options;
    const proxy = stack.use(await startProxy({ target: broker.port, host: brokerHost, log }));
    const config = configOf(proxy, options);
    const place = { command: [...network?.command ?? [], ...command], host: network?.watch };
    const sluice = stack.use(await Sluice.start({ dir, env, config, ...place }));
    const scene = new Scene({ broker, proxy, sluice }, options, stack.move());
    await scene.connected();
    return scene;
  }

  /** The configuration that the gateway was started with. */
  get config(): Record<string, unknown> {
    return configOf(this.proxy, this.#options);
  }

  get spoolPath(): string {
    return `${this.sluice.dir}/spool.db`;
  }

  /** Where the table is, unless a database was given. */
  get homePath(): string {
    return this.#options.home ?? `${this.sluice.dir}/home.db`;
  }

  async connected(): Promise<StatusJson> {
    const status = await this.sluice.until("the broker to be connected", (it) => it.broker.connected);
    // The filters of the session are noted when the broker has granted them.
    const noted = async () => JSON.parse(await Deno.readTextFile(`${this.spoolPath}.session`));
    await waitFor(async () => (await noted()).filters.length > 0, { what: "the subscriptions" });
    return status;
  }

  /** Publishes so many messages, and returns when the broker has answered for all of them. */
  async publish(count: number, options: PublishOptions = {}): Promise<string[]> {
    await using publisher = await openPublisher(this.broker.url, { qos: options.qos ?? 1 });
    return await this.#send(publisher, count, options);
  }

  /** Publishes until it is stopped. */
  async stream(options: PublishOptions & { pauseMs?: number } = {}): Promise<Stream> {
    const publisher = await openPublisher(this.broker.url, { qos: options.qos ?? 1 });
    let running = true;
    const done = (async () => {
      while (running) {
        await this.#send(publisher, BURST, options);
        await new Promise((resolve) => setTimeout(resolve, options.pauseMs ?? 2));
      }
      await publisher.close();
    })();
    return { stop: () => (running = false, done) };
  }

  /**
   * The broker was killed: everything that was given to publishers, but for `kept`, may be lost with it, even where it
   * says PUBCOMP to the rest of an exchange afterwards; or was delivered already, and comes again as a new message.
   */
  excuse(kept: ReadonlySet<string>): void {
    for (const id of this.sent) if (!kept.has(id)) this.#excused.set(id, (this.#excused.get(id) ?? 0) + 1);
  }

  async #send(publisher: Publisher, count: number, options: PublishOptions): Promise<string[]> {
    const { prefix = "m", payloadBytes = 0, broken = false } = options;
    const ids = Array.from({ length: count }, () => `${prefix}${++this.#lastId}`);
    for (const id of ids) this.sent.add(id);
    await Promise.all(ids.map(async (id) => {
      const text = JSON.stringify({ id, filler: fillerOf(payloadBytes) });
      const { outcome, sends } = await publisher.publish("Home/a", broken ? text.slice(0, -1) : text);
      if (outcome === "accepted") this.accepted.set(id, sends);
      else this.unknown.add(id);
    }));
    return ids;
  }

  /** Rows by id. */
  async rows(): Promise<Map<string, number>> {
    const { database } = this.#options;
    if (!database) return countIds(this.homePath, "t", "id");
    const tables = await database.server.admin(`SHOW TABLES FROM ${database.schema} LIKE 't'`);
    if (tables.length === 0) return new Map();
    const rows = await database.server.admin(
      `SELECT id, count(*) AS n FROM ${database.schema}.t GROUP BY id`,
    );
    return new Map(rows.map(({ id, n }) => [String(id), Number(n)]));
  }

  /** How often each id is in a table of a database file. */
  static ids(path: string, table = "t"): ReadonlyMap<string, number> {
    return countIds(path, table, "id");
  }

  /** Dead letters by id. */
  dead(): Map<string, number> {
    return countIds(this.spoolPath, "dead", "CAST(payload AS TEXT)");
  }

  /** kill -9 of the gateway; then everything that it has acknowledged must be on a disk. */
  async kill(): Promise<void> {
    await this.sluice.kill("SIGKILL");
    await this.judgeWire();
  }

  /**
   * Everything that was acknowledged on the wire is on a disk, and no acknowledgement answers what did not come over
   * its connection. Call it when the gateway is killed, or nothing is moving. `elsewhere`: what another gateway has.
   */
  async judgeWire(elsewhere: Iterable<string> = []): Promise<void> {
    const kept = new Set([...[...await this.rows(), ...this.dead()].map(([id]) => id), ...elsewhere]);
    for (const id of idsInQueues(this.spoolPath)) kept.add(id);
    const taken = acknowledged(packets(this.proxy, this.version)).map(({ payload }) => idOf(String(payload)));
    assert.deepEqual(taken.filter((id) => !kept.has(id)), [], "acknowledged, but on no disk");
  }

  /** Waits until so many more are stored than now. */
  async flowing(count = 50): Promise<void> {
    const { totals } = await this.sluice.status();
    await this.sluice.until(`${count} more to be stored`, (it) => it.totals.stored >= totals.stored + count);
  }

  /** Waits until the gateway has said so. */
  async says(what: RegExp, timeoutMs?: number): Promise<void> {
    await waitFor(() => what.test(this.sluice.output), {
      what: `${what} in:\n${this.sluice.output}`,
      timeoutMs,
    });
  }

  /** Keeps the table locked, as if the database were away, until it is disposed of. Not for a database that was given. */
  async holdDatabase(): Promise<Disposable> {
    await this.sluice.until("the table", (it) => it.totals.stored > 0);
    const db = new DatabaseSync(this.homePath);
    db.exec("PRAGMA busy_timeout = 60000; BEGIN IMMEDIATE");
    return { [Symbol.dispose]: () => db.close() };
  }

  /** Waits until everything accepted has arrived, then counts. */
  async settle(): Promise<StatusJson> {
    const missing = async () => {
      const rows = await this.rows();
      const dead = this.dead();
      return [...this.accepted.keys()].filter((id) =>
        !rows.has(id) && !dead.has(id) && !this.#excused.has(id)
      );
    };
    await waitFor(async () => (await missing()).length === 0, {
      what: "everything accepted to be stored or dead",
      timeoutMs: 60_000,
    }).catch(async (error) => {
      const lost = await missing();
      throw new Error(
        `${error.message}\n${lost.length} of ${this.accepted.size} are missing: ${lost.slice(0, 9)}\n` +
          `${JSON.stringify(await this.sluice.status().catch(String))}\n${this.sluice.output}`,
      );
    });
    const status = await this.sluice.until(
      "nothing to wait",
      ({ totals, broker }) => totals.pending === 0 && broker.connected,
    );
    checkSums(status);
    const rows = await this.rows();
    const dead = this.dead();
    const allowed = (id: string) => Math.max(1, this.accepted.get(id) ?? 1) + (this.#excused.get(id) ?? 0);
    const twice = [...rows, ...dead].filter(([id, n]) => n > allowed(id));
    assert.deepEqual(
      twice.slice(0, 9),
      [],
      `${twice.length} are stored more than once\n${this.sluice.output}`,
    );
    assert.deepEqual([...rows.keys()].filter((id) => dead.has(id)), [], "stored and dead");
    return status;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

function configOf(
  proxy: FaultProxy,
  { version = 5, config = {}, database, home = "home.db", brokerName }: SceneOptions,
): Record<string, unknown> {
  const url = brokerName ? `mqtt://${brokerName}:${proxy.port}` : proxy.url();
  return {
    name: "scene",
    database: { url: database?.url ?? `sqlite:${home}` },
    routes: [{ topic: "Home/#", table: "t", decode: "json", columns: { id: "$.id", ts: "@received" } }],
    ...config,
    broker: { url, version, keepalive: "5s", ...config.broker as Record<string, unknown> | undefined },
    spool: { path: "spool.db", linger: "5ms", ...config.spool as Record<string, unknown> | undefined },
  };
}

/** Random, so that it cannot be packed small. */
function fillerOf(bytes: number): string {
  return bytes === 0 ? "" : crypto.getRandomValues(new Uint8Array(bytes * 0.75)).toBase64();
}

function idOf(text: string): string {
  return /"id":"([^"]+)"/.exec(text)?.[1] ?? text.slice(0, 40);
}

function query<T>(path: string, read: (db: DatabaseSync) => T): T {
  const db = new DatabaseSync(path, { readOnly: true });
  try {
    return read(db);
  } finally {
    db.close();
  }
}

function countIds(path: string, table: string, column: string): Map<string, number> {
  const counts = new Map<string, number>();
  if (!exists(path)) return counts;
  query(path, (db) => {
    if (!db.prepare("SELECT 1 FROM sqlite_schema WHERE name = ?").get(table)) return;
    for (
      const { id } of db.prepare(`SELECT ${column} AS id FROM ${table}`).iterate() as Iterable<{ id: string }>
    ) {
      const key = table === "dead" ? idOf(id) : id;
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
  });
  return counts;
}

/** Whatever looks like an id in the spool's queues, read without the gateway's own code. */
function idsInQueues(path: string): string[] {
  return query(path, (db) => {
    const tables = db.prepare("SELECT name FROM sqlite_schema WHERE name LIKE 'queue!_%' ESCAPE '!'").all();
    return tables.flatMap(({ name }) =>
      (db.prepare(`SELECT size, data FROM ${name}`).all() as { size: number | null; data: Uint8Array }[])
        .flatMap(({ size, data }) => {
          const bytes = size === null ? data : inflateRawSync(data);
          return [...new TextDecoder("latin1").decode(bytes).matchAll(/"id":"([^"]+)"/g)].map(([, id]) => id);
        })
    );
  });
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}
