/**
 * Faults of the gateway's own process: killed between the packets of an exchange, stopped, frozen, started twice.
 *
 * The numbers are those of the fault catalogue. Kills at random moments (1) are in `e2e/outage_test.ts` and in the torture.
 */
import assert from "node:assert/strict";
import { BareClient } from "../mqtt/bare_client.ts";
import { publishPacket, startFakeBroker } from "../mqtt/fake_broker.ts";
import type { Database } from "../servers/database.ts";
import { START, testWith } from "../servers/needs.ts";
import { type FaultProxy, startProxy } from "../servers/proxy.ts";
import type { QoS } from "../servers/publisher.ts";
import { waitFor } from "../servers/wait_for.ts";
import { Sluice } from "../e2e/sluice.ts";
import { Scene, type SceneOptions } from "./scene.ts";
import { all, type Answer, holdsA, packets } from "./wire.ts";

/** Within the window of MQTT 3.1.1, so that all of them are under way at once. */
const COUNT = 15;

interface Moment {
  /** The first packet that does not arrive. */
  readonly packet: Answer;
  readonly qos: QoS;
  /** Whether the broker must send the messages again, or only their PUBREL. */
  readonly again: "publish" | "pubrel";
}

for (const version of [5, 4] as const) {
  testWith(
    ["mosquitto"],
    `2: killed before PUBACK arrives, QoS 1, MQTT ${version}: stored once`,
    () => killedBefore({ packet: "puback", qos: 1, again: "publish" }, version),
  );
  testWith(
    ["mosquitto"],
    `2: killed before PUBREC arrives, QoS 2, MQTT ${version}: stored once`,
    () => killedBefore({ packet: "pubrec", qos: 2, again: "publish" }, version),
  );
  testWith(
    ["mosquitto"],
    `3: killed before PUBREL arrives, QoS 2, MQTT ${version}: stored once`,
    () => killedBefore({ packet: "pubrel", qos: 2, again: "pubrel" }, version),
  );
  testWith(
    ["mosquitto"],
    `4: killed before PUBCOMP arrives, QoS 2, MQTT ${version}: stored once`,
    () => killedBefore({ packet: "pubcomp", qos: 2, again: "pubrel" }, version),
  );
}

async function killedBefore({ packet, qos, again }: Moment, version: 4 | 5): Promise<void> {
  await using scene = await Scene.start({ version });
  const { proxy, sluice } = scene;
  const seen = () => packets(proxy, version);
  const before = packet === "pubrel" ? "pubrec" : packet;
  proxy.onData = (_direction, chunk, connection) =>
    connection === 1 && holdsA(packet, chunk) ? "hold" : "pass";
  await scene.publish(COUNT, { qos });
  await waitFor(
    () => all(seen(), packet).length > 0 && (packet === "pubcomp" || all(seen(), before).length === COUNT),
    {
      what: `${packet} to be held`,
    },
  );
  await scene.kill();
  proxy.cut();
  await sluice.start();
  const answer = packet === "puback" ? "puback" : "pubcomp";
  await waitFor(() => all(seen(), answer, 2).length > 0, { what: `${answer} on the second connection` });
  if (again === "publish") {
    await sluice.until("all of them to come again", ({ totals }) => totals.duplicate === COUNT);
    assert.ok(all(seen(), "publish", 2).every(({ dup, topic }) => dup || topic.startsWith("$SYS/")));
  } else assert.ok(all(seen(), "pubrel", 2).length > 0, "the broker had nothing to finish");
  await scene.settle();
}

for (const version of [5, 4] as const) {
  testWith(
    ["mosquitto"],
    `4: killed before PUBCOMP arrives, and then the broker sends the message again in place of PUBREL, MQTT ${version}: stored once`,
    async () => {
      await using scene = await Scene.start({ version });
      const { broker, proxy, sluice } = scene;
      proxy.onData = (_direction, chunk) => holdsA("pubcomp", chunk) ? "hold" : "pass";
      await scene.publish(COUNT, { qos: 2 });
      await waitFor(() => all(packets(proxy, version), "pubrel").length === COUNT, { what: "every PUBREL" });
      await sluice.until("all of them to be stored", ({ totals }) => totals.stored === COUNT);
      await scene.kill();
      proxy.onData = undefined;
      proxy.cut();
      // mosquitto 2.0.11 forgets that it has had PUBREC where a connection breaks at once; others go on with PUBREL.
      await BareClient.passBy(broker, { version, clientId: "sluice-scene" });
      await sluice.start();
      const done = () => {
        const seen = packets(proxy, version);
        return all(seen, "pubcomp", proxy.accepted).length === COUNT;
      };
      await waitFor(done, { what: "every PUBCOMP" });
      await scene.settle();
    },
  );
}

Deno.test("4: a packet id that was completed is new data, also for a gateway that was killed in between", async () => {
  await using broker = await startFakeBroker();
  await using sluice = await Sluice.start({
    config: { broker: { url: broker.url }, database: { url: "sqlite:home.db" } },
  });
  const message = publishPacket(7, 2, "Home/a", "21.5");
  let client = await broker.accepted();
  await client.grant();
  client.send(message);
  await client.next("pubrec");
  await sluice.kill();
  await sluice.start();
  client = await broker.accepted({ sessionPresent: true });
  await client.grant();
  // The broker has had PUBREC: it goes on with PUBREL, and then the id is free.
  client.send({ cmd: "pubrel", messageId: 7 });
  assert.equal((await client.next("pubcomp")).messageId, 7);
  client.send(message);
  await client.next("pubrec");
  client.send({ cmd: "pubrel", messageId: 7 });
  await client.next("pubcomp");
  await sluice.until("both to be stored", ({ totals }) => totals.stored === 2 && totals.duplicate === 0);
});

/** A scene with a real database behind a proxy of its own, and in it a table whose `id` takes 12 characters. */
async function sceneWithDatabase(
  stack: AsyncDisposableStack,
  options: SceneOptions = {},
): Promise<{ scene: Scene; server: Database; databaseProxy: FaultProxy }> {
  const server = stack.use(await START.mariadb());
  const databaseProxy = stack.use(await startProxy({ target: server.port, log: false }));
  const schema = await server.createDatabase();
  await server.admin(
    `CREATE TABLE ${schema}.t (n bigint AUTO_INCREMENT PRIMARY KEY, id varchar(12), ts datetime(3))`,
  );
  const url = server.url(schema).replace(`:${server.port}/`, `:${databaseProxy.port}/`);
  const scene = stack.use(await Scene.start({ ...options, database: { server, url, schema } }));
  return { scene, server, databaseProxy };
}

const includes = (chunk: Uint8Array, word: string) => new TextDecoder("latin1").decode(chunk).includes(word);

testWith(
  ["mosquitto", "mariadb"],
  "5: killed after the database's COMMIT, before the spool knows: the ledger says skip",
  async () => {
    await using stack = new AsyncDisposableStack();
    const { scene, databaseProxy } = await sceneWithDatabase(stack);
    databaseProxy.onData = (direction, chunk) => {
      if (direction === "up" && includes(chunk, "COMMIT")) databaseProxy.hold("down");
      return "pass";
    };
    await scene.publish(50);
    await waitFor(async () => (await scene.rows()).size > 0, { what: "a commit that is not answered" });
    await scene.kill();
    databaseProxy.onData = undefined;
    databaseProxy.cut();
    databaseProxy.release();
    await scene.sluice.start();
    await scene.settle();
    assert.equal((await scene.rows()).size, 50);
  },
);

testWith(
  ["mosquitto", "mariadb"],
  "6: killed after dead letters were kept, before their batch is committed: neither doubled",
  async () => {
    await using stack = new AsyncDisposableStack();
    const { scene, databaseProxy } = await sceneWithDatabase(stack);
    let held = false;
    databaseProxy.onData = (direction, chunk) => {
      if (direction === "down" || held || !includes(chunk, "COMMIT") || scene.dead().size === 0) {
        return "pass";
      }
      held = true;
      return "hold";
    };
    await scene.publish(30, { prefix: "much-too-long-" });
    await scene.publish(30);
    await waitFor(() => held, { what: "a COMMIT behind the first dead letter" });
    await scene.kill();
    const parked = scene.dead().size;
    assert.ok(parked > 0);
    databaseProxy.cut();
    databaseProxy.release();
    await scene.sluice.start();
    const { totals } = await scene.settle();
    assert.deepEqual([totals.stored, totals.dead], [30, 30]);
  },
);

for (const frozen of ["broker", "database"] as const) {
  testWith(
    ["mosquitto", "mariadb"],
    `9: SIGTERM under load while the ${frozen} is frozen: exit code 0 within ten seconds, nothing lost`,
    async () => {
      await using stack = new AsyncDisposableStack();
      const { scene, server } = await sceneWithDatabase(stack);
      const streams = [await scene.stream({ qos: 1 }), await scene.stream({ qos: 2 })];
      await sceneStores(scene, 100);
      const service = frozen === "broker" ? scene.broker : server;
      await service.kill("SIGSTOP");
      const ending = scene.sluice.stop();
      const deadline = Promise.withResolvers<string>();
      const timer = setTimeout(() => deadline.resolve("still there after ten seconds"), 10_000);
      const code = await Promise.race([ending, deadline.promise]);
      clearTimeout(timer);
      await service.kill("SIGCONT");
      assert.equal(code, 0, scene.sluice.output);
      await scene.sluice.start();
      for (const stream of streams) await stream.stop();
      await scene.settle();
    },
  );
}

/** Waits until so many more rows are there. */
async function sceneStores(scene: Scene, more: number): Promise<void> {
  const { totals } = await scene.sluice.status();
  await scene.sluice.until(`${more} more to be stored`, (it) => it.totals.stored >= totals.stored + more);
}

testWith(
  ["mosquitto"],
  "10: frozen under load until the broker has given it up, then woken: goes on by itself, nothing lost or doubled",
  async () => {
    await using scene = await Scene.start({ config: { broker: { keepalive: "1s" } } });
    const streams = [await scene.stream({ qos: 1 }), await scene.stream({ qos: 2 })];
    await sceneStores(scene, 100);
    await scene.sluice.kill("SIGSTOP");
    await waitFor(() => /exceeded timeout/.test(scene.broker.log(200)), { what: "the broker to give it up" });
    await scene.sluice.kill("SIGCONT");
    await sceneStores(scene, 100);
    for (const stream of streams) await stream.stop();
    await scene.settle();
    assert.ok(scene.proxy.accepted >= 2);
  },
);

testWith(
  ["mosquitto"],
  "11: a second gateway with the same client id and spool refuses to start, the first does not notice",
  async () => {
    await using scene = await Scene.start();
    const stream = await scene.stream({ qos: 2 });
    await sceneStores(scene, 20);
    await using second = await Sluice.prepare({ dir: scene.sluice.dir, config: scene.config });
    second.spawn();
    assert.equal(await second.exitCode(), 1);
    assert.match(second.output, /spool\.db.* in use/);
    await sceneStores(scene, 20);
    assert.equal(scene.proxy.accepted, 1);
    await stream.stop();
    await scene.settle();
  },
);
