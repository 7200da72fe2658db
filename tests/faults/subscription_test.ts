/**
 * Faults of subscriptions: a broker that grants none, or less than was asked for, and sessions that are lost again and
 * again while retained messages wait. Rows 19 and 28 of the fault catalogue.
 */
import assert from "node:assert/strict";
import { BareClient } from "../mqtt/bare_client.ts";
import { ManualClock } from "../mqtt/manual_clock.ts";
import { openTestSource } from "../mqtt/opened_source.ts";
import { Reader } from "../mqtt/reader.ts";
import { freePort } from "../servers/free_port.ts";
import { startMosquitto } from "../servers/mosquitto.ts";
import { Rules } from "../servers/mosquitto_rules.ts";
import { testWith } from "../servers/needs.ts";
import { publish } from "../servers/publisher.ts";
import { startProxy } from "../servers/proxy.ts";
import { waitFor } from "../servers/wait_for.ts";
import { Sluice } from "../e2e/sluice.ts";
import { Scene } from "./scene.ts";

const CONFIG = { database: { url: "sqlite:home.db" } };

for (const version of [5, 4] as const) {
  testWith(
    ["mosquitto", "dynsec"],
    `19: a broker that refuses the subscription: connected, but neither well nor ready, until the rules are mended, MQTT ${version}`,
    async () => {
      await using rules = await Rules.open();
      await using broker = await startMosquitto({ config: rules.config });
      await using proxy = await startProxy({ target: broker.port });
      await using sluice = await Sluice.start({
        config: { broker: { url: proxy.url(), version }, ...CONFIG },
      });
      const ill = await sluice.until(
        "it to be told",
        (it) => it.broker.connected && it.state !== "ok" && it.sentence !== null,
      );
      assert.deepEqual([ill.state, ill.broker.refused], ["degraded", ["Home/#"]]);
      assert.match(ill.sentence!, /does not grant all subscriptions: Home\/# is refused/);
      assert.ok((await sluice.notReady()).includes("the broker refuses the subscription Home/#"));
      await rules.allowSubscriptions(broker, true);
      // It asks again every minute, see the next test, and on every connection.
      proxy.cut();
      const well = await sluice.until("it to be well", (it) => it.broker.connected && it.state === "ok");
      assert.deepEqual([well.broker.refused, await sluice.notReady()], [[], []]);
      await publish(broker.url, [{ topic: "Home/a", payload: "1" }]);
      await sluice.until("the message to be stored", ({ totals }) => totals.stored === 1);
    },
  );

  testWith(
    ["mosquitto", "dynsec"],
    `19: a refused subscription is asked for again every minute, and works as soon as the rules are mended, MQTT ${version}`,
    async () => {
      await using rules = await Rules.open();
      await using broker = await startMosquitto({ config: rules.config });
      const clock = new ManualClock();
      await using opened = openTestSource(broker.url, { version, clock, keepaliveMs: 0 });
      await using reader = new Reader(opened.source);
      const { refused } = await opened.event("subscriptions");
      assert.deepEqual(refused.map(({ filter }) => filter), ["#"]);
      await rules.allowSubscriptions(broker, true);
      clock.advance(60_000);
      await opened.ready();
      const mended = await opened.event("subscriptions", opened.events.length - 1);
      assert.deepEqual(mended.refused, []);
      await publish(broker.url, [{ topic: "a", payload: "1" }]);
      await waitFor(() => (clock.advance(10), reader.publishes.length === 1), { what: "the message" });
      assert.equal(opened.source.stats.connects, 1);
    },
  );

  testWith(
    ["mosquitto"],
    `19: a broker that grants a lower QoS: told, and its messages are stored all the same, MQTT ${version}`,
    async () => {
      const port = freePort();
      await using broker = await startMosquitto({ config: [`listener ${port} 127.0.0.1`, "max_qos 1"] });
      const url = `mqtt://127.0.0.1:${port}`;
      await using sluice = await Sluice.start({ config: { broker: { url, version }, ...CONFIG } });
      const { state, sentence } = await sluice.until(
        "it to be told",
        (it) => it.broker.connected && it.sentence !== null,
      );
      assert.equal(state, "degraded");
      assert.match(sentence!, /Home\/# is granted with a lower QoS/);
      await publish(broker.url, [{ topic: "Home/a", payload: "1", qos: 2 }]);
      await sluice.until("the message to be stored", ({ totals }) => totals.stored === 1);
    },
  );
}

const STATE = { topic: "Home/state", payload: '{"id":"retained"}', retain: true, qos: 1 as const };
const table = (name: string, retained: string) => ({
  topic: "Home/#",
  table: name,
  decode: "json",
  columns: { id: "$.id" },
  retained,
});

/** Takes the session away from the gateway while it is not connected. */
async function endSession({ broker, proxy, version }: Scene, clientId: string): Promise<void> {
  await proxy.refuse();
  proxy.cut();
  const thief = await BareClient.open(broker.url, {
    version,
    clientId,
    hello: { clean: true, properties: { sessionExpiryInterval: 0 } },
  });
  thief.send({ cmd: "disconnect" });
  await thief[Symbol.asyncDispose]();
  await proxy.refuse(false);
}

/** A new session brings what is retained once more; only the policy can say that it is not wanted. */
async function lostSessions(version: 4 | 5): Promise<void> {
  const clientId = "forgetful";
  const routes = [table("stored", "store"), table("skipped", "skip")];
  await using scene = await Scene.start({ version, config: { broker: { clientId }, routes } });
  const { broker, sluice } = scene;
  const told = () => sluice.output.split("did not keep the session").length - 1;
  await publish(broker.url, [STATE]);
  // It was there before the message, which therefore comes as a live one.
  await sluice.until("the live message", ({ totals }) => totals.stored === 2);
  for (let lost = 1; lost <= SESSIONS; lost++) {
    await endSession(scene, clientId);
    await waitFor(() => told() === lost, { what: `the end of session ${lost} to be told` });
    await sluice.until(
      "what is retained",
      ({ totals }) => totals.stored + totals.filtered === 2 * (lost + 1),
    );
  }
  await publish(broker.url, [{ topic: "Home/a", payload: '{"id":"live"}' }]);
  const { totals } = await sluice.until(
    "the last message",
    ({ totals }) => totals.stored === SESSIONS + 4,
  );
  const ids = (name: string) => Scene.ids(`${sluice.dir}/home.db`, name);
  assert.deepEqual([...ids("stored")], [["retained", SESSIONS + 1], ["live", 1]]);
  assert.deepEqual([...ids("skipped")], [["retained", 1], ["live", 1]]);
  assert.equal(totals.duplicate, 0);
}

const SESSIONS = 20;

testWith(
  ["mosquitto"],
  `28: ${SESSIONS} sessions lost while a message is retained: stored once for each, or never, as the route says`,
  async () => {
    await Promise.all([lostSessions(5), lostSessions(4)]);
  },
);
