/**
 * Everything that a fault run consists of: a broker, a database, a fault proxy in front of each, the gateway between
 * the proxies, and publishers that talk to the broker directly and tell the oracle what it accepted.
 *
 * Each publisher has a table of its own, hence a lane of its own. A few messages are bad on purpose.
 */
import type { Database, Flavour } from "../servers/database.ts";
import { type Mosquitto, startMosquitto } from "../servers/mosquitto.ts";
import { START } from "../servers/needs.ts";
import { type FaultProxy, startProxy } from "../servers/proxy.ts";
import { SpoolReader } from "../../src/spool/reader.ts";
import { askGateway } from "../../src/spool/requests.ts";
import { openPublisher, type Publisher } from "../servers/publisher.ts";
import { waitFor } from "../servers/wait_for.ts";
import { checkSums, Sluice } from "../e2e/sluice.ts";
import type { Surroundings } from "./surroundings.ts";
import { type Fate, Oracle, type Verdict } from "./oracle.ts";

const PUBLISHERS = [{ name: "a", qos: 1 }, { name: "b", qos: 2 }, { name: "c", qos: 1 }, {
  name: "d",
  qos: 2,
}] as const;
/** Messages that a publisher has under way at a time. */
const BURST = 10;
const PAUSE_MS = 20;
/** Every so many messages one is refused by the database, or is no JSON. */
const REFUSED_EVERY = 53;
const UNDECODABLE_EVERY = 71;

export interface WorldOptions {
  readonly flavour: Flavour;
  /** A disk for configuration and spool, and a clock; default: a scratch folder, and the true time. */
  readonly surroundings?: Surroundings;
  readonly databaseArgs?: readonly string[];
}

export class World implements AsyncDisposable {
  readonly oracle = new Oracle();
  readonly broker: Mosquitto;
  readonly database: Database;
  readonly brokerProxy: FaultProxy;
  readonly databaseProxy: FaultProxy;
  readonly sluice: Sluice;
  readonly #schema: string;
  readonly #publishers: Publisher[];
  readonly #counts: number[];
  #publishing: Promise<void>[] = [];
  #stop = new AbortController();

  private constructor(parts: {
    broker: Mosquitto;
    database: Database;
    brokerProxy: FaultProxy;
    databaseProxy: FaultProxy;
    sluice: Sluice;
    schema: string;
    publishers: Publisher[];
  }) {
    this.broker = parts.broker;
    this.database = parts.database;
    this.brokerProxy = parts.brokerProxy;
    this.databaseProxy = parts.databaseProxy;
    this.sluice = parts.sluice;
    this.#schema = parts.schema;
    this.#publishers = parts.publishers;
    this.#counts = parts.publishers.map(() => 0);
  }

  static async start({ flavour, surroundings, databaseArgs }: WorldOptions): Promise<World> {
    await using stack = new AsyncDisposableStack();
    const broker = stack.use(await startMosquitto({ persistence: true }));
    const database = stack.use(await START[flavour]({ args: databaseArgs }));
    const brokerProxy = stack.use(await startProxy({ target: broker.port, log: false }));
    const databaseProxy = stack.use(await startProxy({ target: database.port, log: false }));
    const schema = await database.createDatabase();
    for (const { name } of PUBLISHERS) {
      await database.admin(
        `CREATE TABLE ${schema}.t_${name} (n bigint AUTO_INCREMENT PRIMARY KEY, id varchar(40), note varchar(4), KEY (id))`,
      );
    }
    const url = database.url(schema).replace(`:${database.port}/`, `:${databaseProxy.port}/`);
    const columns = { id: "$.id", note: "$.note" };
    const sluice = stack.use(
      await Sluice.start({
        dir: surroundings?.disk,
        env: surroundings?.env,
        config: {
          name: "torture",
          broker: { url: brokerProxy.url(), keepalive: "2s" },
          database: { url },
          spool: { path: "spool.db", linger: "5ms" },
          routes: [{ topic: "Home/{publisher}/data", table: "t_{publisher}", decode: "json", columns }],
        },
      }),
    );
    await sluice.until("the broker to be connected", (status) => status.broker.connected);
    const publishers = await Promise.all(PUBLISHERS.map(({ qos }) => openPublisher(broker.url, { qos })));
    for (const publisher of publishers) stack.use(publisher);
    const world = new World({ broker, database, brokerProxy, databaseProxy, sluice, schema, publishers });
    world.surroundings = surroundings;
    world.#stack = stack.move();
    return world;
  }

  surroundings: Surroundings | undefined;
  #stack = new AsyncDisposableStack();

  get spoolPath(): string {
    return `${this.sluice.dir}/spool.db`;
  }

  /** Starts publishing on all publishers. */
  publish(): void {
    this.#stop = new AbortController();
    this.#publishing = this.#publishers.map((publisher, i) => this.#stream(publisher, i, this.#stop.signal));
  }

  async #stream(publisher: Publisher, i: number, signal: AbortSignal): Promise<void> {
    const { name } = PUBLISHERS[i];
    while (!signal.aborted) {
      await Promise.all(Array.from({ length: BURST }, async () => {
        const { id, fate, payload } = message(name, this.#counts[i]++);
        const { outcome, sends } = await publisher.publish(`Home/${name}/data`, payload);
        if (outcome === "accepted") this.oracle.accept(id, fate, sends);
        else this.oracle.doubt(id);
      }));
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }

  /** Stops publishing, waits until everything has arrived, and compares. All faults must be over. */
  async settle(): Promise<Verdict> {
    this.#stop.abort();
    await Promise.all(this.#publishing);
    let last: Verdict | undefined;
    let quiet = 0;
    await waitFor(async () => {
      const status = await this.sluice.status().catch(() => null);
      const done = status !== null && status.totals.pending === 0 && status.broker.connected;
      quiet = done ? quiet + 1 : 0;
      if (quiet < 3) return false;
      last = await this.oracle.judge(
        this.database,
        this.#schema,
        PUBLISHERS.map(({ name }) => `t_${name}`),
        this.spoolPath,
      );
      checkSums(status!);
      // Nothing missing ends the wait; what is missing may still be on its way from the broker.
      return last.missing.length === 0;
    }, { what: "everything accepted to be stored or dead", timeoutMs: 120_000 }).catch(async (error) => {
      if (last === undefined) {
        throw new Error(
          `${error.message}\n${JSON.stringify(await this.sluice.status().catch(String))}\n${
            tail(this.sluice.output)
          }`,
        );
      }
    });
    if (last!.missing.length === 0) await this.#dropLetters();
    return last!;
  }

  /** Those that were judged, so that the small disk of a long run is not filled up with them. */
  async #dropLetters(): Promise<void> {
    using reader = new SpoolReader(this.spoolPath);
    const ids = [...reader.letters()].map(({ id }) => id);
    if (ids.length === 0) return;
    const { done, kept } = await askGateway(this.spoolPath, { op: "drop", ids });
    if (done !== ids.length) {
      throw new Error(`${done} of ${ids.length} letters were dropped: ${JSON.stringify(kept[0])}`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#stack.disposeAsync();
  }
}

function message(publisher: string, n: number): { id: string; fate: Fate; payload: string } {
  const id = `${publisher}${n}`;
  if (n % REFUSED_EVERY === REFUSED_EVERY - 1) {
    return { id, fate: "refused", payload: `{"id":"${id}","note":"too long for it"}` };
  }
  if (n % UNDECODABLE_EVERY === UNDECODABLE_EVERY - 1) {
    return { id, fate: "undecodable", payload: `{"id":"${id}","note":` };
  }
  return { id, fate: "row", payload: `{"id":"${id}","note":"ok","filler":"${"x".repeat(n % 120)}"}` };
}

export function tail(text: string, lines = 40): string {
  return text.split("\n").slice(-lines).join("\n");
}
