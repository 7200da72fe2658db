/**
 * A spool that is older than the database, or there twice: row 54 of the fault catalogue. Two tables, hence two lanes,
 * because what one of them finds must not make the other write twice.
 */
import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { Sluice } from "../e2e/sluice.ts";
import { testWith } from "../servers/needs.ts";
import { openPublisher } from "../servers/publisher.ts";
import { type Mosquitto, startMosquitto } from "../servers/mosquitto.ts";

const TABLES = ["t", "u"];

class Copies implements AsyncDisposable {
  readonly dir: string;
  readonly #broker: Mosquitto;
  readonly #stack: AsyncDisposableStack;
  #lastId = 0;

  private constructor(dir: string, broker: Mosquitto, stack: AsyncDisposableStack) {
    this.dir = dir;
    this.#broker = broker;
    this.#stack = stack;
  }

  static async start(): Promise<Copies> {
    await using stack = new AsyncDisposableStack();
    const dir = await Deno.makeTempDir({ prefix: "sluice-copies-" });
    stack.defer(() => Deno.remove(dir, { recursive: true }));
    return new Copies(dir, stack.use(await startMosquitto()), stack.move());
  }

  /** A gateway that was not started. Its folder may be a copy of another one's. */
  async gateway(name: string): Promise<Sluice> {
    await Deno.mkdir(`${this.dir}/${name}`, { recursive: true });
    const config = {
      name,
      broker: { url: this.#broker.url, clientId: name },
      database: { url: `sqlite:${this.dir}/home/home.db` },
      spool: { path: "spool.db", linger: "2ms" },
      routes: TABLES.flatMap((table) =>
        ["shared", name].map((from) => ({
          topic: `Home/${from}/data`,
          table,
          decode: "json",
          columns: { id: "$.id" },
        }))
      ),
    };
    return this.#stack.use(await Sluice.prepare({ dir: `${this.dir}/${name}`, config }));
  }

  /** Without it every gateway spools. */
  makeDatabase(): void {
    Deno.mkdirSync(`${this.dir}/home`);
  }

  async publish(name: string, count: number): Promise<void> {
    await using publisher = await openPublisher(this.#broker.url, { qos: 1 });
    const ids = Array.from({ length: count }, () => `m${++this.#lastId}`);
    for (const id of ids) {
      const { outcome } = await publisher.publish(`Home/${name}/data`, JSON.stringify({ id }));
      assert.equal(outcome, "accepted");
    }
  }

  /** Every message that was published is in both tables, once. */
  assertOnce(...outputs: Sluice[]): void {
    using db = new DatabaseSync(`${this.dir}/home/home.db`, { readOnly: true });
    const said = outputs.map((it) => it.output).join("\n");
    for (const table of TABLES) {
      const rows = db.prepare(`SELECT id, count(*) AS n FROM ${table} GROUP BY id`).all();
      assert.deepEqual(rows.filter((it) => it.n !== 1), [], `stored twice in ${table}\n${said}`);
      assert.equal(rows.length, this.#lastId, `in ${table}\n${said}`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

const connected = (gateway: Sluice) => gateway.until("the broker", (it) => it.broker.connected);
const drained = (gateway: Sluice, total: number) =>
  gateway.until("all to be stored", ({ totals }) => totals.received >= total && totals.pending === 0);

testWith(
  ["mosquitto"],
  "54: an old copy of the spool: what it still waits to store is in the database, and is not stored again",
  async () => {
    await using copies = await Copies.start();
    const gateway = await copies.gateway("attic");
    await gateway.start();
    await connected(gateway);
    await copies.publish("attic", 300);
    await gateway.until("the backlog", ({ totals }) => totals.pending === 600);
    await gateway.stop();
    await Deno.copyFile(`${gateway.dir}/spool.db`, `${copies.dir}/old.db`);
    copies.makeDatabase();
    await gateway.start();
    await copies.publish("attic", 200);
    await drained(gateway, 500);
    await gateway.stop();
    await Deno.copyFile(`${copies.dir}/old.db`, `${gateway.dir}/spool.db`);
    await gateway.start();
    await copies.publish("attic", 100);
    await drained(gateway, 400);
    assert.match(gateway.output, /an old copy of it was put back, or a copy is in use elsewhere/);
    copies.assertOnce(gateway);
    // And once more, now under its new identity.
    await gateway.stop();
    await gateway.start();
    await copies.publish("attic", 20);
    await drained(gateway, 420);
    copies.assertOnce(gateway);
  },
);

testWith(
  ["mosquitto"],
  "54: a cloned card: two gateways with one spool and one database store what both have once, and what each gets once",
  async () => {
    await using copies = await Copies.start();
    const first = await copies.gateway("attic");
    await first.start();
    await connected(first);
    await copies.publish("shared", 3_000);
    await first.until("the backlog", ({ totals }) => totals.pending === 6_000);
    await first.stop();
    for (const suffix of ["", ".identity"]) {
      await Deno.mkdir(`${copies.dir}/cellar`, { recursive: true });
      await Deno.copyFile(`${first.dir}/spool.db${suffix}`, `${copies.dir}/cellar/spool.db${suffix}`);
    }
    const second = await copies.gateway("cellar");
    await Promise.all([first.start(), second.start()]);
    await Promise.all([connected(first), connected(second)]);
    copies.makeDatabase();
    await Promise.all([copies.publish("attic", 200), copies.publish("cellar", 200)]);
    await drained(first, 3_200);
    await drained(second, 3_200);
    copies.assertOnce(first, second);
    assert.match(first.output + second.output, /a copy is in use elsewhere/);
  },
);
