/** The source against a real broker: sessions, redelivery, subscriptions, retained messages. */
import assert from "node:assert/strict";
import type { SourceOptions } from "../../src/mqtt/source.ts";
import { startMosquitto } from "../servers/mosquitto.ts";
import { freePort } from "../servers/free_port.ts";
import { testWith } from "../servers/needs.ts";
import { startProxy } from "../servers/proxy.ts";
import { openPublisher, publish } from "../servers/publisher.ts";
import { waitFor } from "../servers/wait_for.ts";
import { type OpenedSource, openTestSource } from "./opened_source.ts";
import { Reader } from "./reader.ts";

/** Messages with the numbers from `from` on, below `topic`. */
function messages(count: number, { from = 0, topic = "a" } = {}) {
  return Array.from({ length: count }, (_, index) => ({
    topic: `${topic}/${(from + index) % 7}`,
    payload: `${from + index}`,
  }));
}

const numbers = (count: number) => Array.from({ length: count }, (_, index) => `${index}`);

async function ready(url: string, options: Partial<SourceOptions> = {}): Promise<OpenedSource> {
  const opened = openTestSource(url, { filters: ["a/#"], ...options });
  await opened.ready();
  return opened;
}

for (const version of [5, 4] as const) {
  for (const qos of [0, 1, 2] as const) {
    testWith(["mosquitto"], `MQTT ${version}, QoS ${qos}: everything arrives once, in order`, async () => {
      await using broker = await startMosquitto();
      await using opened = await ready(broker.url, { version });
      await using reader = new Reader(opened.source);
      await publish(broker.url, messages(500), { qos });
      const publishes = await reader.count(500);
      assert.deepEqual(reader.payloads, numbers(500));
      assert.ok(publishes.every((each) => each.qos === qos && each.connection === 1));
      assert.ok(publishes.every(({ packetId }) => qos === 0 ? packetId === 0 : packetId > 0));
      if (qos < 2) return;
      await reader.until(
        ({ kinds }) => kinds.filter((kind) => kind === "release").length === 500,
        "releases",
      );
    });
  }

  testWith(
    ["mosquitto"],
    `MQTT ${version}: what was published while the gateway was away arrives in its session`,
    async () => {
      await using broker = await startMosquitto();
      {
        await using first = await ready(broker.url, { version });
        assert.equal(first.source.stats.sessionPresent, false);
      }
      await publish(broker.url, messages(300), { qos: 2 });
      await using second = openTestSource(broker.url, {
        version,
        filters: ["a/#"],
        previousFilters: ["a/#"],
      });
      await using reader = new Reader(second.source);
      await reader.count(300);
      assert.deepEqual(reader.payloads, numbers(300));
      assert.equal(second.source.stats.sessionPresent, true);
      assert.ok(!reader.kinds.includes("sessionLost"));
      assert.ok(!second.events.some(({ kind }) => kind === "sessionNotResumed"));
    },
  );

  testWith(
    ["mosquitto"],
    `MQTT ${version}: what was not acknowledged comes again, marked as such, with its packet id`,
    async () => {
      await using broker = await startMosquitto();
      await using proxy = await startProxy({ target: broker.port });
      await using opened = await ready(proxy.url(), { version });
      await using reader = new Reader(opened.source, { hold: true });
      await publish(broker.url, messages(10), { qos: 1 });
      const first = (await reader.count(10)).slice();
      opened.source.acknowledge(first.slice(0, 4));
      // The broker has read the four when it has answered what was sent behind them.
      opened.source.subscribe(["a/#", "b"]);
      await waitFor(() => opened.source.stats.subscriptions["b"] === 2, { what: "an answer" });
      proxy.cut();
      const all = await reader.count(16);
      const again = all.slice(10);
      assert.deepEqual(again.map(({ packetId }) => packetId), first.slice(4).map(({ packetId }) => packetId));
      assert.ok(again.every(({ duplicate, connection }) => duplicate && connection === 2));
      reader.release();
      await publish(broker.url, messages(1, { from: 99 }));
      await reader.until(({ payloads }) => payloads.includes("99"), "the last message");
      assert.equal(reader.publishes.length, 17);
    },
  );

  testWith(
    ["mosquitto"],
    `MQTT ${version}: a broker that has forgotten the session is told what to send, and it is reported`,
    async () => {
      await using broker = await startMosquitto();
      await using opened = await ready(broker.url, { version });
      await using reader = new Reader(opened.source);
      await publish(broker.url, messages(3), { qos: 1 });
      await reader.count(3);
      await broker.kill();
      await broker.restart();
      await opened.event("sessionNotResumed");
      await opened.ready();
      await publish(broker.url, messages(3, { from: 3 }), { qos: 1 });
      await reader.count(6);
      assert.deepEqual(reader.payloads, numbers(6));
      assert.equal(reader.kinds.filter((kind) => kind === "sessionLost").length, 2);
    },
  );

  testWith(
    ["mosquitto"],
    `MQTT ${version}: a filter that only an earlier process wanted brings nothing any more`,
    async () => {
      await using broker = await startMosquitto();
      let stored: readonly string[] = [];
      {
        await using first = await ready(broker.url, { version, filters: ["a/#", "old/#"] });
        await waitFor(() => first.subscribed.length > 0, { what: "the report" });
        stored = first.subscribed.at(-1)!;
      }
      await using second = openTestSource(broker.url, { version, filters: ["a/#"], previousFilters: stored });
      await using reader = new Reader(second.source);
      await waitFor(() => second.subscribed.length > 0, { what: "the report" });
      assert.deepEqual(second.subscribed, [["a/#"]]);
      await publish(broker.url, [...messages(5, { topic: "old" }), ...messages(1, { from: 77 })]);
      await reader.until(({ payloads }) => payloads.includes("77"), "the wanted message");
      assert.deepEqual(reader.payloads, ["77"]);
    },
  );

  testWith(["mosquitto"], `MQTT ${version}: 500 queued QoS 2 messages arrive on one connection`, async () => {
    await using broker = await startMosquitto();
    await (await ready(broker.url, { version }))[Symbol.asyncDispose]();
    await publish(broker.url, messages(500), { qos: 2 });
    for (const receiveMaximum of version === 5 ? [20] : [1000]) {
      await using opened = openTestSource(broker.url, {
        version,
        receiveMaximum,
        filters: ["a/#"],
        previousFilters: ["a/#"],
      });
      await using reader = new Reader(opened.source);
      await reader.until(
        ({ kinds }) => kinds.filter((kind) => kind === "release").length === 500,
        "releases",
      );
      assert.deepEqual(reader.payloads, numbers(500));
      assert.equal(opened.source.stats.connects, 1);
    }
  });
}

testWith(
  ["mosquitto"],
  "retained messages come with a new subscription and not with a later connection",
  async () => {
    await using broker = await startMosquitto();
    await using proxy = await startProxy({ target: broker.port });
    // QoS 0: a cut may take acknowledgements with it, and then the broker rightly sends a message again.
    await publish(broker.url, messages(3).map((one) => ({ ...one, retain: true, qos: 0 as const })));
    await using opened = await ready(proxy.url());
    await using reader = new Reader(opened.source);
    assert.ok((await reader.count(3)).every(({ retain }) => retain));
    for (let connects = 2; connects <= 4; connects++) {
      proxy.cut();
      await waitFor(() => opened.source.stats.connects === connects, { what: "the next connection" });
      await opened.ready();
    }
    await publish(broker.url, messages(1, { from: 50 }).map((one) => ({ ...one, retain: true })));
    await reader.until(({ payloads }) => payloads.includes("50"), "the live message");
    assert.equal(reader.publishes.length, 4);
    assert.equal(reader.publishes[3]!.retain, false, "a live message, whatever the broker keeps of it");
  },
);

testWith(["mosquitto"], "user and password are asked for at each log-in; a wrong one is said", async () => {
  await using broker = await startMosquitto({ users: { sluice: "s3cret" } });
  await using wrong = openTestSource(broker.url, {
    username: "sluice",
    password: () => Promise.resolve("no"),
  });
  const { error, retryMs } = await wrong.event("refused");
  // mosquitto 2.0 answers "not authorised" to a wrong password.
  assert.match(error.message, /refuses the log-in/);
  assert.match(error.hint!, /broker\.password/);
  assert.ok(retryMs >= 5000);
  const url = new URL(broker.url);
  url.username = "sluice";
  url.password = "s3cret";
  await using byUrl = openTestSource(url.href, { clientId: "other" });
  await byUrl.event("connected");
  await using right = openTestSource(broker.url, {
    username: "sluice",
    password: () => Promise.resolve("s3cret"),
  });
  await right.event("connected");
});

testWith(
  ["mosquitto"],
  "a QoS that the broker lowers is told and the messages come all the same",
  async () => {
    const port = freePort();
    await using broker = await startMosquitto({ config: [`listener ${port} 127.0.0.1`, "max_qos 1"] });
    await using opened = await ready(`mqtt://127.0.0.1:${port}`);
    await using reader = new Reader(opened.source);
    const { refused, lowered } = await opened.event("subscriptions");
    assert.deepEqual([refused, lowered], [[], [{ filter: "a/#", granted: 1 }]]);
    await publish(broker.url, messages(2), { qos: 2 });
    assert.ok((await reader.count(2)).every(({ qos }) => qos === 1));
  },
);

testWith(
  ["mosquitto"],
  "messages that the broker drops for the sleeping gateway are told after it is back",
  async () => {
    await using broker = await startMosquitto({ config: ["sys_interval 1", "max_queued_messages 10"] });
    await using proxy = await startProxy({ target: broker.port });
    await using opened = await ready(proxy.url());
    await waitFor(() => opened.source.stats.brokerDropped === 0, { what: "the first count" });
    await proxy.refuse();
    proxy.cut();
    await opened.event("disconnected");
    await publish(broker.url, messages(60), { qos: 1 });
    await proxy.refuse(false);
    await using reader = new Reader(opened.source);
    const { more } = await opened.event("brokerDropped");
    assert.ok(more > 0);
    assert.ok(reader.publishes.length < 60);
  },
);

testWith(
  ["mosquitto"],
  "the publisher's messages cross resets at random moments without a gap in what is handed over",
  async () => {
    await using broker = await startMosquitto();
    await using proxy = await startProxy({ target: broker.port, log: false });
    const seed = Number(Deno.env.get("SLUICE_SEED") ?? Math.floor(Math.random() * 2 ** 31));
    let state = seed;
    const random = () => (state = (state * 48_271) % 0x7fff_ffff) / 0x7fff_ffff;
    // Slices, so that a reset falls into the middle of a packet.
    proxy.slice(777);
    await using opened = await ready(proxy.url());
    await using reader = new Reader(opened.source);
    await using publisher = await openPublisher(broker.url, { qos: 1 });
    for (const { topic, payload } of messages(2000)) void publisher.publish(topic, payload.padEnd(100));
    for (let cut = 1; cut <= 7; cut++) {
      const next = reader.publishes.length + 10 + random() * 120;
      await reader.until(({ publishes }) => publishes.length >= next, `cut ${cut} (SLUICE_SEED=${seed})`);
      proxy.cut();
    }
    await publisher.settled();
    await reader.until(
      ({ payloads }) => new Set(payloads).size === 2000,
      `all 2000 (SLUICE_SEED=${seed})`,
      60_000,
    );
    assert.ok(opened.source.stats.connects >= 7, `connects: ${opened.source.stats.connects}`);
    // A message may come again, but never out of order within one connection.
    const highest = new Map<number, number>();
    for (const { connection, payload } of reader.publishes) {
      const number = Number(new TextDecoder().decode(payload));
      assert.ok(
        number > (highest.get(connection) ?? -1),
        `order on connection ${connection} (SLUICE_SEED=${seed})`,
      );
      highest.set(connection, number);
    }
  },
);
