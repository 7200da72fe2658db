/** Which filters are asked for, given up and complained about. */
import assert from "node:assert/strict";
import type { Packet } from "mqtt-packet";
import { type LoweredFilter, Subscriptions } from "../../src/mqtt/subscriptions.ts";
import { waitFor } from "../servers/wait_for.ts";
import { type FakeClient, publishPacket, startFakeBroker } from "./fake_broker.ts";
import { ManualClock } from "./manual_clock.ts";
import { openTestSource } from "./opened_source.ts";
import { Reader } from "./reader.ts";

const SYS = "$SYS/";

/** What requests ask for: "+a" subscribes, "-a" unsubscribes. */
function asked(packets: readonly Packet[]): string[] {
  return packets.flatMap((packet) =>
    packet.cmd === "subscribe"
      ? packet.subscriptions.map(({ topic }) => `+${topic}`)
      : packet.cmd === "unsubscribe"
      ? packet.unsubscriptions.map((topic) => `-${topic}`)
      : []
  ).filter((one) => !one.startsWith(SYS, 1));
}

/** Answers requests as a broker that grants everything. */
function grant(subscriptions: Subscriptions, packets: readonly Packet[]): void {
  for (const packet of packets) {
    if (packet.cmd === "subscribe") {
      const granted = packet.subscriptions.map(({ qos }) => qos);
      subscriptions.answered({ cmd: "suback", messageId: packet.messageId, granted });
    } else if (packet.cmd === "unsubscribe") {
      const granted = packet.unsubscriptions.map(() => 0);
      subscriptions.answered({ cmd: "unsuback", messageId: packet.messageId, granted });
    }
  }
}

function made(version: 4 | 5, wanted: string[], previousFilters: string[] = []): Subscriptions {
  const subscriptions = new Subscriptions({ version, qos: 2, previousFilters });
  subscriptions.want(wanted);
  return subscriptions;
}

Deno.test("MQTT 5 subscribes everything on every connection, MQTT 4 only what the session lacks", () => {
  for (const [version, again] of [[5, ["+a", "+b"]], [4, []]] as const) {
    const subscriptions = made(version, ["a", "b"]);
    const first = subscriptions.connected(false);
    assert.deepEqual(asked(first), ["+a", "+b"]);
    grant(subscriptions, first);
    assert.deepEqual(asked(subscriptions.connected(true)), again);
    assert.deepEqual(asked(subscriptions.connected(false)), ["+a", "+b"]);
  }
});

Deno.test("MQTT 5 asks for retained messages of new subscriptions only, and for the retain flag with these only", () => {
  const [packet] = made(5, ["a"]).connected(false);
  assert.deepEqual(packet, {
    cmd: "subscribe",
    messageId: 1,
    subscriptions: [{ topic: "a", qos: 2, rap: false, rh: 1 }],
  });
});

Deno.test("what an earlier process subscribed and nobody wants any more is unsubscribed", () => {
  for (const version of [4, 5] as const) {
    const subscriptions = made(version, ["b"], ["a", "b"]);
    const requests = subscriptions.connected(true);
    assert.deepEqual(asked(requests), version === 5 ? ["-a", "+b"] : ["-a"]);
    grant(subscriptions, requests);
    assert.deepEqual(subscriptions.held, ["b"]);
    assert.deepEqual(subscriptions.granted, { b: version === 5 ? 2 : null });
  }
});

Deno.test("a session that is gone holds nothing of what an earlier process subscribed", () => {
  const subscriptions = made(4, ["b"], ["a", "b"]);
  assert.deepEqual(asked(subscriptions.connected(false)), ["+b"]);
  assert.deepEqual(subscriptions.held, []);
});

Deno.test("a changed wish becomes the difference, and unanswered requests are made again on the next connection", () => {
  const subscriptions = made(4, ["a", "b"]);
  grant(subscriptions, subscriptions.connected(false));
  assert.equal(subscriptions.want(["b", "a"]), false);
  assert.equal(subscriptions.want(["b", "c"]), true);
  assert.deepEqual(asked(subscriptions.changes()), ["-a", "+c"]);
  assert.equal(subscriptions.settled, false);
  const again = subscriptions.connected(true);
  assert.deepEqual(asked(again), ["-a", "+c"]);
  grant(subscriptions, again);
  assert.deepEqual(subscriptions.held, ["b", "c"]);
});

Deno.test("a filter that is given up and wanted again before the broker answers is subscribed in the end", () => {
  const subscriptions = made(5, ["a"]);
  grant(subscriptions, subscriptions.connected(false));
  subscriptions.want([]);
  const leave = subscriptions.changes();
  subscriptions.want(["a"]);
  const back = subscriptions.changes();
  assert.deepEqual([asked(leave), asked(back)], [["-a"], ["+a"]]);
  grant(subscriptions, [...leave, ...back]);
  assert.deepEqual(subscriptions.granted, { a: 2 });
});

Deno.test("a filter that is given up before the broker has granted it is unsubscribed", () => {
  const subscriptions = made(5, ["a"]);
  const enter = subscriptions.connected(false);
  subscriptions.want([]);
  const leave = subscriptions.changes();
  assert.deepEqual(asked(leave), ["-a"]);
  grant(subscriptions, [...enter, ...leave]);
  assert.deepEqual(subscriptions.held, []);
  assert.deepEqual(asked(subscriptions.connected(true)), []);
});

Deno.test("many filters are asked for in packets of eight", () => {
  const filters = Array.from({ length: 20 }, (_, index) => `f${index}`);
  const requests = made(5, filters).connected(false);
  assert.deepEqual(requests.map((packet) => asked([packet]).length), [8, 8, 4]);
  assert.equal(new Set(requests.map(({ messageId }) => messageId)).size, 3);
});

Deno.test("an answer that does not fit its request is an error", () => {
  const subscriptions = made(5, ["a", "b"]);
  const [request] = subscriptions.connected(false);
  assert.throws(() => subscriptions.answered({ cmd: "suback", messageId: request!.messageId, granted: [2] }));
});

Deno.test("lowered filters are asked for again by MQTT 5; MQTT 4 would bring their retained messages again", () => {
  for (const version of [5, 4] as const) {
    const subscriptions = made(version, ["a", "b"]);
    const [request] = subscriptions.connected(false);
    subscriptions.answered({ cmd: "suback", messageId: request!.messageId, granted: [1, 2] });
    const lowered: LoweredFilter[] = [{ filter: "a", granted: 1 }];
    assert.deepEqual(subscriptions.faults, { refused: [], lowered });
    assert.deepEqual(asked(subscriptions.retries()), version === 5 ? ["+a"] : []);
  }
});

Deno.test("a filter that is not answered within a minute is a fault", () => {
  const subscriptions = made(5, ["a"]);
  subscriptions.connected(false);
  const again = subscriptions.retries();
  assert.deepEqual(subscriptions.faults.refused, [{ filter: "a", reason: "it has not answered" }]);
  grant(subscriptions, again);
  assert.deepEqual(subscriptions.faults.refused, []);
});

/** A client of the fake broker that has got all first SUBSCRIBE packets, that for $SYS included. */
async function greeted(client: FakeClient): Promise<void> {
  await waitFor(
    () => client.all("subscribe").some(({ subscriptions }) => subscriptions[0]!.topic.startsWith(SYS)),
    {
      what: "the packet for $SYS",
    },
  );
}

for (const version of [5, 4] as const) {
  Deno.test(`MQTT ${version}: a refused and a lowered filter are told, asked for again every minute, and told when mended`, async () => {
    await using broker = await startFakeBroker();
    const clock = new ManualClock();
    await using opened = openTestSource(broker.url, {
      version,
      clock,
      keepaliveMs: 0,
      filters: ["a", "b", "c"],
    });
    const client = await broker.accepted();
    await client.grant(0x80, 2, version === 5 ? 1 : 2);
    const fault = await opened.event("subscriptions");
    assert.deepEqual(fault.refused.map(({ filter }) => filter), ["a"]);
    assert.match(fault.refused[0]!.reason, /access rules/);
    assert.deepEqual(fault.lowered, version === 5 ? [{ filter: "c", granted: 1 }] : []);
    assert.deepEqual(opened.subscribed, [["b", "c"]]);
    assert.equal(opened.source.stats.subscriptions["a"], undefined);
    clock.advance(60_000);
    const again = await client.grant();
    assert.deepEqual(asked([again]), version === 5 ? ["+a", "+c"] : ["+a"]);
    const mended = await opened.event("subscriptions", opened.events.indexOf(fault) + 1);
    assert.deepEqual([mended.refused, mended.lowered], [[], []]);
    assert.deepEqual(opened.source.stats.subscriptions, { a: 2, b: 2, c: 2 });
  });
}

Deno.test("subscribe changes a standing connection, and the caller learns what the session holds", async () => {
  await using broker = await startFakeBroker();
  await using opened = openTestSource(broker.url, { filters: ["a", "b"] });
  const client = await broker.accepted();
  await client.grant();
  await opened.ready();
  opened.source.subscribe(["b", "c"]);
  const leave = await client.next("unsubscribe");
  assert.deepEqual(leave.unsubscriptions, ["a"]);
  client.send({ cmd: "unsuback", messageId: leave.messageId, granted: [0] });
  assert.deepEqual(asked([await client.grant()]), ["+c"]);
  await waitFor(() => opened.subscribed.length === 2, { what: "the second report" });
  assert.deepEqual(opened.subscribed, [["a", "b"], ["b", "c"]]);
});

Deno.test("a lost session is reported as holding nothing before anything is subscribed anew", async () => {
  await using broker = await startFakeBroker();
  await using opened = openTestSource(broker.url, { version: 4, filters: ["a"], previousFilters: ["a"] });
  const client = await broker.accepted();
  await opened.event("sessionNotResumed");
  assert.deepEqual(opened.subscribed, [[]]);
  await client.grant();
  await waitFor(() => opened.subscribed.length === 2, { what: "the second report" });
  assert.deepEqual(opened.subscribed[1], ["a"]);
});

const dropped = (count: number) =>
  publishPacket(0, 0, "$SYS/broker/publish/messages/dropped", String(count), { retain: true });

Deno.test("$SYS is looked at and no arrival; growth of what the broker dropped is told, at most once a minute", async () => {
  await using broker = await startFakeBroker();
  const clock = new ManualClock();
  const counters: number[] = [];
  await using opened = openTestSource(broker.url, {
    clock,
    keepaliveMs: 0,
    filters: ["a"],
    onDropped: (counter) => counters.push(counter),
  });
  await using reader = new Reader(opened.source);
  const client = await broker.accepted();
  await greeted(client);
  const told = () => opened.events.flatMap((event) => event.kind === "brokerDropped" ? [event.more] : []);
  client.send(
    publishPacket(0, 0, "$SYS/broker/version", "mosquitto version 2.0.11"),
    // A broker that was started anew begins at 0 again.
    ...[100, 100, 107, 2, 5].map(dropped),
    publishPacket(0, 0, "a"),
  );
  await reader.count(1);
  assert.deepEqual(reader.publishes.map(({ topic }) => topic), ["a"]);
  assert.deepEqual([told(), counters], [[7], [100, 107]]);
  clock.advance(60_000);
  assert.deepEqual([told(), counters], [[7, 5], [100, 107, 5]]);
  assert.equal(opened.source.stats.brokerDropped, 12);
  assert.equal(opened.source.stats.brokerVersion, "mosquitto version 2.0.11");
});

Deno.test("what the broker dropped while no process was there is told by the next one", async () => {
  for (
    const [previousDropped, count, told] of [[100, 600, [500]], [600, 20, [20]], [600, 600, []]] as const
  ) {
    await using broker = await startFakeBroker();
    await using opened = openTestSource(broker.url, { filters: ["a"], previousDropped });
    await using reader = new Reader(opened.source);
    const client = await broker.accepted();
    client.send(dropped(count), publishPacket(0, 0, "a"));
    await reader.count(1);
    const more = opened.events.flatMap((event) => event.kind === "brokerDropped" ? [event.more] : []);
    assert.deepEqual(more, told);
  }
});

Deno.test("a refused $SYS is no fault", async () => {
  await using broker = await startFakeBroker();
  await using opened = openTestSource(broker.url, { filters: ["a"] });
  const client = await broker.accepted();
  await client.grant();
  await greeted(client);
  client.send({ cmd: "suback", messageId: 65_535, granted: [0x87, 0x87] }, publishPacket(1, 1));
  await using reader = new Reader(opened.source);
  await reader.count(1);
  assert.equal(opened.source.stats.connected, true);
  assert.ok(!opened.events.some(({ kind }) => kind === "subscriptions"));
});

Deno.test("a broker that closes three times instead of answering about $SYS is not asked again", async () => {
  await using broker = await startFakeBroker();
  await using _opened = openTestSource(broker.url, { filters: ["a"], keepaliveMs: 50 });
  for (let time = 0; time < 3; time++) {
    const client = await broker.accepted();
    await client.grant();
    await greeted(client);
    await client.cut();
  }
  const last = await broker.accepted();
  await last.grant();
  await last.next("pingreq");
  assert.equal(last.all("subscribe").length, 1);
});

Deno.test("a line that breaks three times before an answer about $SYS is no refusal: it is asked again", async () => {
  await using broker = await startFakeBroker();
  await using _opened = openTestSource(broker.url, { filters: ["a"] });
  for (let time = 0; time < 4; time++) {
    const client = await broker.accepted();
    await client.grant();
    await greeted(client);
    client.socket.resetAndDestroy();
  }
});

Deno.test("a user who subscribes to $SYS gets all of it", async () => {
  await using broker = await startFakeBroker();
  await using opened = openTestSource(broker.url, { filters: ["$SYS/#"] });
  await using reader = new Reader(opened.source);
  const client = await broker.accepted();
  await client.next("unsubscribe");
  client.send(
    publishPacket(0, 0, "$SYS/broker/version", "x"),
    publishPacket(4, 2, "$SYS/broker/version", "y"),
  );
  await reader.count(2);
  assert.equal((await client.next("pubrec")).messageId, 4);
});
