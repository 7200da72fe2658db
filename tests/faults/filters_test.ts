/**
 * Filters of the real gateway over restarts, kills and reloads: what is stored is what a model of the filter stores of
 * all messages in order, and all the rest is counted as filtered.
 */
import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { createConnection } from "mysql2/promise";
import { checkSums, Sluice, type StatusJson } from "../e2e/sluice.ts";
import { type Mosquitto, startMosquitto } from "../servers/mosquitto.ts";
import { isAvailable, START, testWith } from "../servers/needs.ts";
import { startProxy } from "../servers/proxy.ts";
import { openPublisher, type Publisher } from "../servers/publisher.ts";
import { waitFor } from "../servers/wait_for.ts";
import { isCommit } from "./stage.ts";
import { Surroundings } from "./surroundings.ts";

const route = (keep: Record<string, unknown>, more: Record<string, unknown> = {}) => ({
  topic: "Home/{room}/climate",
  table: "climate",
  decode: "json",
  columns: {
    ts: "@received",
    room: "{room}",
    n: { value: "$.n", type: "int" },
    t: { value: "$.t", type: "decimal(10,2)" },
  },
  keep,
  ...more,
});

/** A gateway with its broker and one publisher, so that messages come in the order in which they are published. */
class House implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();
  broker!: Mosquitto;
  sluice!: Sluice;
  publisher!: Publisher;
  published = 0;

  /** `before`: what is to happen at the broker before the gateway comes. */
  static async open(
    config: Record<string, unknown>,
    { env, before }: { env?: Record<string, string>; before?: (broker: Mosquitto) => Promise<void> } = {},
  ): Promise<House> {
    const house = new House();
    house.broker = house.#stack.use(await startMosquitto());
    await before?.(house.broker);
    const common = { broker: { url: house.broker.url }, spool: { linger: "5ms" } };
    house.sluice = house.#stack.use(
      await Sluice.start({ env, config: { database: { url: "sqlite:home.db" }, ...common, ...config } }),
    );
    await house.sluice.until("the broker to be connected", (it) => it.broker.connected);
    house.publisher = house.#stack.use(await openPublisher(house.broker.url, { qos: 1 }));
    return house;
  }

  async say(room: string, payload: Record<string, unknown>): Promise<void> {
    const { outcome } = await this.publisher.publish(`Home/${room}/climate`, JSON.stringify(payload));
    assert.equal(outcome, "accepted");
    this.published++;
  }

  /** Waits until everything that was published is stored, filtered or dead. */
  async settled(): Promise<StatusJson> {
    const status = await this.sluice.until(`${this.published} messages to be done`, ({ totals }) => {
      const { received, duplicate, pending } = totals;
      return received - duplicate >= this.published && pending === 0;
    });
    checkSums(status);
    return status;
  }

  /** Of the embedded database. */
  rows(): { room: string; n: number }[] {
    using db = new DatabaseSync(`${this.sluice.dir}/home.db`, { readOnly: true });
    return db.prepare("SELECT room, n FROM climate ORDER BY id").all() as { room: string; n: number }[];
  }

  async restart(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    if (signal === "SIGTERM") assert.equal(await this.sluice.stop(), 0, this.sluice.output);
    else await this.sluice.kill();
    await this.sluice.start();
    await this.sluice.until("the broker to be connected", (it) => it.broker.connected);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }
}

testWith(
  ["mosquitto"],
  "onChange and deadband go on after a restart where they stood, also with decimals",
  async () => {
    await using house = await House.open({ routes: [route({ deadband: { t: 0.1 } })] });
    // 21.30 differs from 21.20 by the band, though not to a computer.
    const said: [t: unknown, stored: boolean][] = [
      ...[[21.2, true], [21.25, false], [21.3, true], [21.39, false]] as [unknown, boolean][],
      ...[["21.40", true], [21.4, false], [null, true], [null, false], [21.4, true], [21.35, false], [
        21.3,
        true,
      ]] as [unknown, boolean][],
    ];
    const expected: number[] = [];
    for (const [n, [t, stored]] of said.entries()) {
      await house.say("attic", { n, t });
      if (stored) expected.push(n);
      await house.settled();
      // Forgotten is what was settled within the last second before a kill: then it is settled again, not decided anew.
      await house.restart(n % 2 === 0 ? "SIGTERM" : "SIGKILL");
    }
    const { totals } = await house.settled();
    assert.deepEqual(house.rows().map((it) => it.n), expected);
    assert.deepEqual([totals.stored, totals.filtered], [expected.length, said.length - expected.length]);
  },
);

testWith(
  ["mosquitto"],
  "a retained message that is skipped is counted as filtered, and is no last value",
  async () => {
    await using house = await House.open({ routes: [route({ onChange: ["t"] }, { retained: "skip" })] }, {
      async before({ url }) {
        await using publisher = await openPublisher(url, { qos: 1 });
        await publisher.publish("Home/attic/climate", JSON.stringify({ n: 1, t: 1 }), { retain: true });
      },
    });
    house.published++;
    const { totals: { filtered } } = await house.settled();
    assert.equal(filtered, 1);
    for (const [n, t] of [[2, 1], [3, 1], [4, 2]]) await house.say("attic", { n, t });
    const { totals } = await house.settled();
    assert.deepEqual(house.rows().map((it) => it.n), [2, 4]);
    assert.deepEqual([totals.stored, totals.filtered], [2, 2]);
  },
);

Deno.test({
  name: "minInterval and maxInterval are counted over restarts",
  ignore: !isAvailable("fakeClock"),
  async fn() {
    await using surroundings = await Surroundings.open();
    const keep = { onChange: ["t"], minInterval: "10m", maxInterval: "1h" };
    await using house = await House.open({ routes: [route(keep)] }, { env: surroundings.env });
    let minutes = 0;
    const said: [minutesLater: number, t: number, stored: boolean][] = [
      ...[[0, 1, true], [9, 2, false], [2, 2, true], [30, 2, false], [31, 2, true]] as [
        number,
        number,
        boolean,
      ][],
      ...[[11, 2, false], [1, 3, true], [-600, 4, true], [9, 5, false]] as [number, number, boolean][],
    ];
    for (const [n, [later, t]] of said.entries()) {
      await surroundings.setClock((minutes += later) * 60);
      // Not SIGTERM: under libfaketime deno itself may crash when it ends.
      await house.restart("SIGKILL");
      await house.say("attic", { n, t });
      await house.settled();
    }
    const expected = said.flatMap(([, , stored], n) => stored ? [n] : []);
    assert.deepEqual(house.rows().map((it) => it.n), expected);
  },
});

testWith(
  ["mosquitto"],
  "what filters remember is bounded on disk, however many topics there are",
  async () => {
    await using house = await House.open({ routes: [route({ onChange: ["t"] })] });
    const rooms = Array.from({ length: 10_300 }, (_, i) => `room${i}`);
    await Promise.all(rooms.map((room) => house.say(room, { n: 1, t: 1 })));
    await house.settled();
    await house.sluice.stop();
    using db = new DatabaseSync(`${house.sluice.dir}/spool.db`, { readOnly: true });
    assert.deepEqual({ ...db.prepare("SELECT count(*) AS n FROM memory").get() }, { n: 10_000 });
    await house.sluice.start();
    // The oldest were forgotten: what is not known is stored. The newest are known.
    for (const i of [0, 1, 10_298, 10_299]) await house.say(rooms[i], { n: 2, t: 1 });
    const { totals } = await house.settled();
    assert.deepEqual(house.rows().filter((it) => it.n === 2).map((it) => it.room), ["room0", "room1"]);
    assert.deepEqual([totals.stored, totals.filtered], [10_302, 2]);
  },
);

/** Values that change every few messages, in three rooms at once. */
async function talk(
  house: House,
  count: number,
  said: { room: string; n: number; t: number }[],
): Promise<void> {
  const all: Promise<void>[] = [];
  for (let i = 0; i < count; i++) {
    const n = said.length;
    const message = { room: `r${n % 3}`, n, t: (n * 7919 % 13) >> 2 };
    said.push(message);
    all.push(house.say(message.room, { n, t: message.t }));
  }
  await Promise.all(all);
}

/** What a filter of changes stores. */
function changes(said: readonly { room: string; n: number; t: number }[]): number[] {
  const last = new Map<string, number>();
  return said.filter(({ room, t }) => last.get(room) !== t && last.set(room, t)).map((it) => it.n);
}

testWith(
  ["mosquitto", "mariadb"],
  "killed between commit and settle, a filter decides the same again: no row too many, none missing",
  async () => {
    await using database = await START.mariadb();
    await using proxy = await startProxy({ target: database.port, log: false });
    const schema = await database.createDatabase();
    const url = database.url(schema).replace(`:${database.port}/`, `:${proxy.port}/`);
    await using house = await House.open({ routes: [route({ onChange: ["t"] })], database: { url } });
    const said: { room: string; n: number; t: number }[] = [];
    for (let round = 0; round < 4; round++) {
      await talk(house, 50, said);
      await house.settled();
      // Committed, but the gateway never hears of it.
      let committed = false;
      proxy.onData = (direction, chunk) => {
        if (direction === "up" && isCommit(chunk)) {
          committed = true;
          proxy.hold("down");
        }
        return "pass";
      };
      await talk(house, 50, said);
      await waitFor(() => committed, { what: "a commit that is not answered" });
      await house.sluice.kill();
      proxy.onData = undefined;
      proxy.cut();
      proxy.release();
      await house.sluice.start();
      await talk(house, 20, said);
    }
    const { totals } = await house.settled();
    const rows = await database.admin(`SELECT n FROM ${schema}.climate ORDER BY id`);
    const expected = changes(said);
    assert.deepEqual(rows.map((it) => Number(it.n)), expected);
    assert.deepEqual([totals.stored, totals.filtered], [expected.length, said.length - expected.length]);
  },
);

testWith(["mosquitto"], "reloads under load leave the filters where they stand", async () => {
  await using house = await House.open({ routes: [route({ onChange: ["t"] })] });
  const said: { room: string; n: number; t: number }[] = [];
  for (let round = 0; round < 5; round++) {
    const loaded = house.sluice.output.split("loaded").length;
    const talking = talk(house, 600, said);
    await house.sluice.configure({
      ...JSON.parse(await Deno.readTextFile(house.sluice.configFile)),
      routes: [route({ onChange: ["t"] }), { topic: `other/${round}`, table: "other" }],
    });
    await house.sluice.kill("SIGHUP");
    await talking;
    await waitFor(() => house.sluice.output.split("loaded").length > loaded, { what: "the reload" });
  }
  await house.settled();
  assert.deepEqual(house.rows().map((it) => it.n), changes(said));
});

testWith(["mosquitto", "mariadb"], "a row that the database refuses is no last value", async () => {
  await using database = await START.mariadb();
  const schema = await database.createDatabase();
  const connection = await createConnection({ uri: database.url(schema) });
  await connection.query(
    "CREATE TABLE climate (id int AUTO_INCREMENT PRIMARY KEY, ts datetime(3), room varchar(9), n int, t decimal(10,2), CHECK (n < 100))",
  );
  await connection.end();
  await using house = await House.open({
    routes: [route({ onChange: ["t"] })],
    database: { url: database.url(schema) },
  });
  for (const [n, t] of [[1, 1], [200, 2], [2, 2], [3, 2], [300, 3], [4, 2]]) {
    await house.say("attic", { n, t });
    await house.settled();
  }
  const { totals } = await house.settled();
  const rows = await database.admin(`SELECT n FROM ${schema}.climate ORDER BY id`);
  // After what was refused nothing is known, so that the next one is stored.
  assert.deepEqual(rows.map((it) => Number(it.n)), [1, 2, 4]);
  assert.deepEqual([totals.stored, totals.filtered, totals.dead], [3, 1, 2]);
});
