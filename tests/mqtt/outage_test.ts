/** The source against a real broker that hangs, floods, or is left waiting. */
import assert from "node:assert/strict";
import { INBOX_BYTES_MAX } from "../../src/mqtt/inbox.ts";
import { startMosquitto } from "../servers/mosquitto.ts";
import { testWith } from "../servers/needs.ts";
import { startProxy } from "../servers/proxy.ts";
import { openPublisher, publish } from "../servers/publisher.ts";
import { waitFor } from "../servers/wait_for.ts";
import { openTestSource } from "./opened_source.ts";
import { Reader } from "./reader.ts";

testWith(
  ["mosquitto"],
  "a frozen broker is noticed within one and a half keepalives and used again when it thaws",
  async () => {
    await using broker = await startMosquitto();
    await using opened = openTestSource(broker.url, { keepaliveMs: 1000, connectTimeoutMs: 500 });
    await using reader = new Reader(opened.source);
    await opened.ready();
    await broker.kill("SIGSTOP");
    const { error } = await opened.event("disconnected");
    assert.match(error.message, /has gone silent/);
    const { error: unanswered } = await opened.event("refused");
    assert.match(unanswered.message, /does not answer the log-in/);
    await broker.kill("SIGCONT");
    await waitFor(() => opened.source.stats.connected, { what: "the connection" });
    await publish(broker.url, [{ topic: "a", payload: "after" }]);
    await reader.count(1);
    assert.equal(opened.source.stats.sessionPresent, true);
  },
);

for (const version of [5, 4] as const) {
  testWith(
    ["mosquitto"],
    `MQTT ${version}: acknowledgements held for three keepalives cost no connection and hold the broker back`,
    async () => {
      await using broker = await startMosquitto();
      await using proxy = await startProxy({ target: broker.port });
      await using opened = openTestSource(proxy.url(), { version, keepaliveMs: 1000, receiveMaximum: 50 });
      await using reader = new Reader(opened.source, { hold: true });
      await opened.ready();
      await publish(broker.url, Array.from({ length: 400 }, (_, n) => ({ topic: "a", payload: `${n}` })));
      const window = version === 5 ? 50 : 20;
      await reader.count(window);
      const pings = () =>
        proxy.log.filter(({ direction, bytes }) => direction === "up" && bytes[0] === 0xc0).length;
      const before = pings();
      await waitFor(() => pings() >= before + 3, { what: "three PINGREQ" });
      assert.equal(reader.publishes.length, window);
      assert.equal(opened.source.stats.unacknowledged, window);
      reader.release();
      await reader.count(400);
      assert.deepEqual(reader.payloads, Array.from({ length: 400 }, (_, n) => `${n}`));
      assert.equal(opened.source.stats.connects, 1);
    },
  );
}

testWith(
  ["mosquitto"],
  "a flood at QoS 0 that nobody pulls fills the inbox to its bound and no further",
  async () => {
    await using broker = await startMosquitto();
    await using opened = openTestSource(broker.url, { keepaliveMs: 1000 });
    await opened.ready();
    await using publisher = await openPublisher(broker.url, { qos: 0 });
    const payload = new Uint8Array(8000);
    const bound = INBOX_BYTES_MAX;
    let highest = 0;
    let sent = 0;
    // mosquitto drops what its own buffer and the kernel's do not take: more than the bound must be sent.
    for (; sent < 6000; sent++) {
      await publisher.publish("a", payload);
      highest = Math.max(highest, opened.source.stats.inboxBytes);
    }
    await waitFor(() => opened.source.stats.inboxBytes >= bound, { what: "a full inbox" });
    assert.ok(highest < bound + 128 * 1024, `the inbox held ${highest} bytes`);
    await using reader = new Reader(opened.source);
    await publisher.publish("b", "end");
    await reader.until(({ publishes }) => publishes.length >= 2000, "the flood");
    await waitFor(async () => {
      await publisher.publish("b", "end");
      return reader.payloads.at(-1) === "end";
    }, { what: "the flow to go on" });
    assert.equal(opened.source.stats.connects, 1);
  },
);

testWith(
  ["mosquitto"],
  "two gateways with one client id are told so and do not push each other out in a loop",
  async () => {
    await using broker = await startMosquitto();
    await using one = openTestSource(broker.url);
    await one.event("connected");
    await using two = openTestSource(broker.url);
    // mosquitto 2.0 closes without a reason: it takes a few rounds to see what goes on.
    const ends = () =>
      [...one.events, ...two.events].filter((event) => event.kind === "disconnected")
        .find(({ error }) => error.kind === "takenOver");
    const { error, retryMs } = await waitFor(ends, { what: "the suspicion" });
    assert.ok(retryMs >= 5000);
    assert.match(error.hint!, /same client id: give every gateway its own broker\.clientId/);
  },
);

testWith(["mosquitto"], "slices of one byte and a slow line change nothing", async () => {
  await using broker = await startMosquitto();
  await using proxy = await startProxy({ target: broker.port, log: false });
  proxy.slice(1);
  await using opened = openTestSource(proxy.url());
  await using reader = new Reader(opened.source);
  await opened.ready();
  await publish(broker.url, Array.from({ length: 50 }, (_, n) => ({ topic: "küche", payload: `${n}` })), {
    qos: 2,
  });
  await reader.until(({ kinds }) => kinds.filter((kind) => kind === "release").length === 50, "all releases");
  assert.deepEqual(reader.payloads, Array.from({ length: 50 }, (_, n) => `${n}`));
});

testWith(
  ["mosquitto"],
  "acknowledgements given just before closing reach the broker",
  async () => {
    await using broker = await startMosquitto();
    const opened = openTestSource(broker.url, { receiveMaximum: 10 });
    const reader = new Reader(opened.source, { hold: true });
    await opened.ready();
    await publish(broker.url, Array.from({ length: 30 }, (_, n) => ({ topic: "a", payload: `${n}` })));
    await reader.count(10);
    await reader[Symbol.asyncDispose]();
    opened.source.acknowledge(reader.arrivals);
    await opened[Symbol.asyncDispose]();
    await using next = openTestSource(broker.url, { previousFilters: ["#"] });
    await using second = new Reader(next.source);
    await second.until(({ payloads }) => payloads.includes("29"), "the rest");
    assert.deepEqual(second.payloads, Array.from({ length: 20 }, (_, n) => `${n + 10}`));
  },
);
