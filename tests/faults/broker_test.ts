/**
 * Faults of the broker: killed with and without a file of its sessions, restarted, frozen, and too small for what
 * waits in it. Rows 12 to 15 and 25 of the fault catalogue.
 *
 * A broker that is killed loses what it had accepted and not written down: such runs are judged by what it has kept.
 */
import assert from "node:assert/strict";
import { BareClient } from "../mqtt/bare_client.ts";
import { testWith } from "../servers/needs.ts";
import { publish, type QoS } from "../servers/publisher.ts";
import { waitFor } from "../servers/wait_for.ts";
import { Scene } from "./scene.ts";
import { all, packets } from "./wire.ts";

const COUNT = 10;

/** PUBLISH packets of messages, not of $SYS. */
function arrivals({ proxy, version }: Scene, connection?: number) {
  return all(packets(proxy, version), "publish", connection).filter(({ topic }) => topic.startsWith("Home/"));
}

/** Makes the broker write its sessions to its file. */
async function written({ broker }: Scene): Promise<void> {
  const count = () => broker.log(100_000).split("Saving in-memory database").length;
  const before = count();
  await broker.kill("SIGUSR1");
  await waitFor(() => count() > before, { what: "the broker to write its file" });
}

async function killAndRestart({ broker }: Scene): Promise<void> {
  await broker.kill();
  await broker.restart();
}

const again = ({ sluice }: Scene, count: number) =>
  sluice.until(`${count} to come again`, ({ totals }) => totals.duplicate === count);

/** The same ids with the same contents, of which no connection has seen the end: only the lost session tells them apart. */
async function forgotten(version: 4 | 5): Promise<void> {
  await using scene = await Scene.start({ version });
  const { broker, proxy, sluice } = scene;
  const first = [...await scene.publish(COUNT, { qos: 1 }), ...await scene.publish(COUNT, { qos: 2 })];
  await scene.settle();
  const stale = arrivals(scene);
  // These are on disk when the broker dies, and their acknowledgements on the way.
  proxy.hold("up");
  await scene.publish(COUNT, { qos: 1 });
  await sluice.until("them to be stored", ({ totals }) => totals.stored === 3 * COUNT);
  await killAndRestart(scene);
  proxy.cut();
  proxy.release();
  await scene.says(/did not keep the session/);
  await scene.connected();
  proxy.hold("down");
  const connection = proxy.accepted;
  const same = first.map((id, n) => ({
    topic: "Home/a",
    payload: JSON.stringify({ id, filler: "" }),
    qos: (n < COUNT ? 1 : 2) as QoS,
  }));
  assert.equal((await publish(broker.url, same)).length, 2 * COUNT);
  for (const id of first) scene.accepted.set(id, 2);
  await waitFor(() => arrivals(scene, connection).length === 2 * COUNT, { what: "them to be on the way" });
  proxy.cut();
  proxy.release();
  const { totals } = await sluice.until("them to be stored", (it) => it.totals.stored === 5 * COUNT);
  const marked = arrivals(scene, proxy.accepted);
  assert.ok(marked.every(({ dup }) => dup));
  assert.deepEqual(marked.map(({ messageId }) => messageId), stale.map(({ messageId }) => messageId));
  assert.equal(totals.duplicate, 0);
  await scene.settle();
  await scene.judgeWire();
}

/** Everything is acknowledged to the end, and the broker, restored from its file, does not know of it. */
async function replayed(version: 4 | 5, qos: QoS): Promise<void> {
  const mosquitto = { persistence: true, config: ["autosave_interval 0"] };
  await using scene = await Scene.start({ version, mosquitto });
  const { proxy, sluice } = scene;
  proxy.hold("up");
  await scene.publish(COUNT, { qos });
  await sluice.until("them to be stored", ({ totals }) => totals.stored === COUNT);
  await written(scene);
  proxy.release();
  const last = qos === 1 ? "puback" : "pubcomp";
  await waitFor(() => all(packets(proxy, version), last).length === COUNT, { what: `every ${last}` });
  // The broker has read them when it has answered what came behind them.
  await scene.publish(1);
  await sluice.until("one more to be stored", ({ totals }) => totals.stored === COUNT + 1);
  await killAndRestart(scene);
  await again(scene, COUNT);
  await scene.publish(COUNT, { qos });
  await scene.settle();
  await scene.judgeWire();
}

/** Killed in the middle of everything; what it had accepted before it last wrote its file must be there, once. */
async function savedOnChanges(version: 4 | 5): Promise<void> {
  const mosquitto = { persistence: true, config: ["autosave_on_changes true", "autosave_interval 1"] };
  await using scene = await Scene.start({ version, mosquitto });
  const streams = [await scene.stream({ qos: 1 }), await scene.stream({ qos: 2 })];
  for (let round = 0; round < 3; round++) {
    await scene.flowing();
    const kept = new Set(scene.accepted.keys());
    await written(scene);
    await scene.broker.kill();
    scene.excuse(kept);
    await scene.broker.restart();
  }
  await scene.flowing();
  for (const stream of streams) await stream.stop();
  await scene.settle();
  await scene.judgeWire();
  assert.doesNotMatch(scene.sluice.output, /did not keep the session/);
}

async function restarted(version: 4 | 5): Promise<void> {
  await using scene = await Scene.start({ version, mosquitto: { persistence: true } });
  const streams = [await scene.stream({ qos: 1 }), await scene.stream({ qos: 2 })];
  for (let round = 0; round < 3; round++) {
    await scene.flowing();
    await scene.broker.restart();
  }
  await scene.flowing();
  for (const stream of streams) await stream.stop();
  await scene.settle();
  await scene.judgeWire();
  assert.doesNotMatch(scene.sluice.output, /did not keep the session/);
}

async function frozen(version: 4 | 5): Promise<void> {
  await using scene = await Scene.start({ version, config: { broker: { keepalive: "1s" } } });
  const { broker, sluice } = scene;
  const streams = [await scene.stream({ qos: 1 }), await scene.stream({ qos: 2 })];
  await scene.flowing();
  await broker.kill("SIGSTOP");
  const { sentence } = await sluice.until("the broker to be given up", (it) => !it.broker.connected);
  assert.match(sentence!, /has gone silent/);
  assert.deepEqual(await sluice.notReady(), ["the broker is not connected"]);
  assert.equal((await sluice.fetch("/healthz").then(drop)).status, 200);
  await broker.kill("SIGCONT");
  await scene.flowing();
  for (const stream of streams) await stream.stop();
  await scene.settle();
  await scene.judgeWire();
}

/** What the broker says now that it has dropped. */
async function droppedBy(url: string): Promise<number> {
  await using watch = await BareClient.open(url, { clientId: "watch", hello: { clean: true } });
  await watch.subscribe(["$SYS/broker/publish/messages/dropped"]);
  const [message] = await watch.count("publish", 1);
  return Number(message!.payload);
}

async function drop(response: Response): Promise<Response> {
  await response.body?.cancel();
  return response;
}

for (const version of [5, 4] as const) {
  testWith(
    ["mosquitto"],
    `12: a killed broker that has forgotten all: subscribed anew, no old id means anything, no stale acknowledgement, MQTT ${version}`,
    () => forgotten(version),
  );
  for (const qos of [1, 2] as const) {
    testWith(
      ["mosquitto"],
      `13: acknowledged messages that a broker restored from its file sends again are stored once, QoS ${qos}, MQTT ${version}`,
      () => replayed(version, qos),
    );
  }
  testWith(
    ["mosquitto"],
    `13: a broker killed under load that writes down every change: what it had written is stored once, MQTT ${version}`,
    () => savedOnChanges(version),
  );
  testWith(
    ["mosquitto"],
    `14: a broker restarted under load keeps the session, and nothing is lost or doubled, MQTT ${version}`,
    () => restarted(version),
  );
  testWith(
    ["mosquitto"],
    `15: a frozen broker is given up and told, and used again when it thaws, MQTT ${version}`,
    () => frozen(version),
  );
}

testWith(
  ["mosquitto"],
  "25: more than the broker keeps for an absent gateway: what it dropped is told by the next process",
  async () => {
    await using scene = await Scene.start({
      mosquitto: { config: ["sys_interval 1", "max_queued_messages 1000"] },
    });
    const { sluice, broker } = scene;
    await sluice.until("the counter to be seen", (it) => it.broker.dropped === 0);
    assert.equal(await sluice.stop(), 0);
    const sent = Array.from({ length: 1500 }, (_, n) => ({
      topic: "Home/a",
      payload: JSON.stringify({ id: `q${n}` }),
    }));
    assert.equal((await publish(broker.url, sent)).length, 1500, "the broker accepts them all");
    // It was all over before the next process came.
    await waitFor(() => droppedBy(broker.url), { what: "the broker to have counted", intervalMs: 100 });
    await sluice.start();
    const { totals } = await sluice.until(
      "the loss to be seen",
      (it) => it.totals.stored > 0 && it.totals.stored + it.broker.dropped! === 1500,
    );
    assert.ok(totals.stored >= 1000);
    assert.equal((await scene.rows()).size, totals.stored);
    await scene.says(new RegExp(`has dropped ${1500 - totals.stored} messages.*max_queued_messages`));
  },
);
