/** The probe: what it finds out, and that it disturbs nothing. */
import assert from "node:assert/strict";
import { probe } from "../../src/mqtt/probe.ts";
import { startMosquitto } from "../servers/mosquitto.ts";
import { testWith } from "../servers/needs.ts";
import { publish } from "../servers/publisher.ts";
import { connack, startFakeBroker } from "./fake_broker.ts";
import { openTestSource } from "./opened_source.ts";
import { Reader } from "./reader.ts";

const never = new AbortController().signal;

for (const version of [5, 4] as const) {
  testWith(
    ["mosquitto"],
    `MQTT ${version}: the probe logs in, subscribes, learns the version and leaves the gateway alone`,
    async () => {
      await using broker = await startMosquitto();
      await using opened = openTestSource(broker.url, { version });
      await using reader = new Reader(opened.source);
      await opened.ready();
      const result = await probe({ url: broker.url, version, filters: ["a/#", "b"] }, never);
      assert.deepEqual([result.ok, result.error, result.refused, result.lowered], [true, undefined, [], []]);
      assert.match(result.brokerVersion!, /^mosquitto version 2/);
      await publish(broker.url, [{ topic: "a/b", payload: "still here" }]);
      await reader.count(1);
      assert.equal(opened.source.stats.connects, 1);
    },
  );
}

testWith(["mosquitto"], "the probe says why it cannot log in", async () => {
  await using broker = await startMosquitto({ users: { sluice: "right" } });
  const wrong = {
    url: broker.url,
    username: "sluice",
    password: () => Promise.resolve("wrong"),
    filters: ["a"],
  };
  const result = await probe(wrong, never);
  assert.equal(result.ok, false);
  assert.equal(result.error?.kind, "refused");
});

Deno.test("the probe comes with a clean session of its own, tells refused filters, and joins no shared subscription", async () => {
  await using broker = await startFakeBroker();
  const running = probe({ url: broker.url, filters: ["$share/group/a", "b"] }, never);
  const client = await broker.client();
  const hello = await client.next("connect");
  assert.equal(hello.clean, true);
  assert.match(hello.clientId, /^sluice-check-/);
  assert.equal(hello.properties?.sessionExpiryInterval, 0);
  client.send(connack(0, false, { maximumQoS: 1 }));
  const packet = await client.grant(0x87, 1);
  assert.deepEqual(packet.subscriptions.map(({ topic }) => topic), ["a", "b"]);
  const result = await running;
  assert.equal(result.ok, false);
  assert.deepEqual(result.refused, [{ filter: "a", reason: "its access rules forbid the filter" }]);
  assert.deepEqual(result.lowered, [{ filter: "b", granted: 1 }]);
  assert.equal(result.limits?.maximumQoS, 1);
  await client.next("disconnect");
});

Deno.test("the probe ends when nobody listens, when nobody answers, and when it is aborted", async () => {
  await using broker = await startFakeBroker();
  const silent = await probe({ url: broker.url, filters: ["a"], connectTimeoutMs: 50 }, never);
  assert.match(silent.error!.message, /does not answer the log-in/);
  const running = probe(
    { url: broker.url, filters: ["a"], subscribeTimeoutMs: 50, connectTimeoutMs: 50 },
    never,
  );
  await broker.client();
  await broker.accepted();
  const mute = await running;
  assert.deepEqual(mute.refused, [{ filter: "a", reason: "it has not answered" }]);
  const stop = new AbortController();
  const aborted = probe({ url: broker.url, filters: ["a"] }, stop.signal);
  await broker.client();
  stop.abort(new Error("enough"));
  await assert.rejects(aborted, /enough/);
});
