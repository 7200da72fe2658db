/**
 * Floods: far more than the gateway can get rid of. Rows 26 and 27 of the fault catalogue.
 *
 * The database is frozen and the spool small, so that once it is full nothing is got rid of at all. What the kernel
 * counts as resident is compared with what it was at rest, and with the size of the flood.
 */
import assert from "node:assert/strict";
import { checkSums } from "../e2e/sluice.ts";
import type { Database } from "../servers/database.ts";
import { START, testWith } from "../servers/needs.ts";
import { openPublisher, type QoS } from "../servers/publisher.ts";
import { waitFor } from "../servers/wait_for.ts";
import { Scene } from "./scene.ts";

const COUNT = 15_000;
const PAYLOAD_BYTES = 10_000;
/** Times the memory at rest, which is 120 MB: three parts for all that is under way, against 150 MB that flood in. */
const RESIDENT_MAX = 3.5;
const FIRST = 100;

class Flood implements AsyncDisposable {
  readonly #stack: AsyncDisposableStack;
  readonly #atRest: number;
  readonly #timer: ReturnType<typeof setInterval>;
  #highest = 0;

  private constructor(readonly scene: Scene, readonly database: Database, stack: AsyncDisposableStack) {
    this.#stack = stack;
    this.#atRest = this.#resident();
    this.#timer = setInterval(() => this.#highest = Math.max(this.#highest, this.#resident()), 50);
  }

  /** A gateway that has stored a few messages, and whose database is frozen now. */
  static async start(version: 4 | 5): Promise<Flood> {
    await using stack = new AsyncDisposableStack();
    const server = stack.use(await START.mariadb());
    const schema = await server.createDatabase();
    const database = { server, url: server.url(schema), schema };
    const config = { spool: { maxSize: "4MiB" } };
    const scene = stack.use(await Scene.start({ version, database, config }));
    await scene.publish(FIRST);
    await scene.settle();
    await server.kill("SIGSTOP");
    return new Flood(scene, server, stack.move());
  }

  /** Publishes from four sides as fast as the broker takes it. */
  async pour(qos: QoS): Promise<void> {
    const filler = "x".repeat(PAYLOAD_BYTES);
    await Promise.all([0, 1, 2, 3].map(async (side) => {
      await using publisher = await openPublisher(this.scene.broker.url, { qos });
      for (let n = side; n < COUNT; n += 4) {
        const id = `f${n}`;
        const sent = publisher.publish("Home/a", JSON.stringify({ id, filler }));
        // What QoS 0 has sent nobody has accepted.
        if (qos > 0) void sent.then(({ sends }) => this.scene.accepted.set(id, sends));
        if (publisher.pending > 500) await publisher.settled();
      }
      await publisher.settled();
    }));
  }

  /** The flood is over and everything has gone where it belongs: was memory bounded? */
  async judge(): Promise<void> {
    await this.scene.settle();
    await this.scene.judgeWire();
    const times = this.#highest / this.#atRest;
    assert.ok(times > 0 && times < RESIDENT_MAX, `${this.#highest} MB resident, ${this.#atRest} at rest`);
  }

  #resident(): number {
    const status = Deno.readTextFileSync(`/proc/${this.scene.sluice.pid}/status`);
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)![1]) / 1024;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await this.#stack.disposeAsync();
  }
}

for (const version of [5, 4] as const) {
  testWith(
    ["mosquitto", "mariadb"],
    `26: a flood at QoS 1 with nowhere to go: the broker has to wait, memory stays bounded, nothing is lost, MQTT ${version}`,
    async () => {
      await using flood = await Flood.start(version);
      const { scene: { accepted, sluice }, database } = flood;
      await flood.pour(1);
      assert.equal(accepted.size, COUNT + FIRST);
      const { totals } = await sluice.until("the spool to be full", ({ spool }) => spool.full);
      assert.ok(totals.received < COUNT / 4, `${totals.received} were taken`);
      assert.ok((await sluice.notReady()).includes("the spool is full"));
      await database.kill("SIGCONT");
      await flood.judge();
    },
  );
}

testWith(
  ["mosquitto", "mariadb"],
  "27: a flood at QoS 0 with nowhere to go: memory stays bounded, what is dropped is counted, the rest is stored",
  async () => {
    await using flood = await Flood.start(5);
    const { scene, database } = flood;
    const { sluice, broker } = scene;
    await flood.pour(0);
    // What the broker itself throws away for a slow reader nobody hears of; what comes is stored or counted.
    const { totals } = await sluice.until("some to be dropped", (it) => it.totals.dropped > 0);
    assert.ok(totals.received <= COUNT + FIRST);
    await database.kill("SIGCONT");
    const calm = await sluice.until(
      "the flood to have passed",
      (it) => it.totals.pending === 0 && !it.spool.full,
    );
    checkSums(calm);
    assert.equal(calm.totals.stored, calm.totals.received - calm.totals.dropped);
    await using publisher = await openPublisher(broker.url, { qos: 0 });
    const { stored } = calm.totals;
    let ends = 0;
    await waitFor(async () => {
      await publisher.publish("Home/a", `{"id":"end${ends++}"}`);
      return (await sluice.status()).totals.stored > stored;
    }, { what: "the flow to go on", intervalMs: 100 });
    await flood.judge();
  },
);
