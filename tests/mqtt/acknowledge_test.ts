/** When, in which order and over which connection PUBACK, PUBREC and PUBCOMP go out. */
import assert from "node:assert/strict";
import type { Packet } from "mqtt-packet";
import { INBOX_BYTES_MAX } from "../../src/mqtt/inbox.ts";
import { waitFor } from "../servers/wait_for.ts";
import { type FakeClient, publishPacket, startFakeBroker } from "./fake_broker.ts";
import { ManualClock } from "./manual_clock.ts";
import { openTestSource } from "./opened_source.ts";
import { Reader } from "./reader.ts";

const ACKS = ["puback", "pubrec", "pubcomp"];

/** Acknowledgements that came so far, as "puback 7". */
function acks(client: FakeClient): string[] {
  return client.packets.filter(({ cmd }) => ACKS.includes(cmd))
    .map((packet: Packet) => `${packet.cmd} ${packet.messageId}`);
}

/** Returns when everything that the source wrote before has arrived: it answers in order. */
async function barrier(client: FakeClient, reader: Reader): Promise<void> {
  const before = reader.arrivals.length;
  client.send(publishPacket(0, 0, "barrier"));
  await reader.until(({ arrivals }) => arrivals.length > before, "the barrier");
}

for (const version of [5, 4] as const) {
  Deno.test(`MQTT ${version}: nothing is acknowledged before it is asked for, then all in order and in one write`, async () => {
    await using broker = await startFakeBroker();
    await using opened = openTestSource(broker.url, { version });
    await using reader = new Reader(opened.source, { hold: true });
    const client = await broker.accepted();
    client.send(
      publishPacket(9, 1),
      publishPacket(3, 2),
      publishPacket(0, 0),
      { cmd: "pubrel", messageId: 70 },
      publishPacket(4, 1),
    );
    await reader.count(4);
    await barrier(client, reader);
    assert.deepEqual(acks(client), []);
    assert.equal(opened.source.stats.unacknowledged, 3);
    const chunks = client.chunks.length;
    opened.source.acknowledge(reader.arrivals);
    await waitFor(() => acks(client).length === 4, { what: "the acknowledgements" });
    assert.deepEqual(acks(client), ["puback 9", "pubrec 3", "pubcomp 70", "puback 4"]);
    assert.deepEqual(client.chunks.slice(chunks), [16]);
  });
}

Deno.test("a QoS 2 message is handed over with its PUBLISH, its release with PUBREL, and PUBCOMP waits for the release", async () => {
  await using broker = await startFakeBroker();
  await using opened = openTestSource(broker.url);
  await using reader = new Reader(opened.source);
  const client = await broker.accepted();
  client.send(publishPacket(5, 2));
  await client.next("pubrec");
  reader.hold();
  client.send({ cmd: "pubrel", messageId: 5 });
  await reader.until(({ kinds }) => kinds.includes("release"), "the release");
  assert.deepEqual(acks(client), ["pubrec 5"]);
  assert.equal(opened.source.stats.unacknowledged, 1);
  reader.release();
  await client.next("pubcomp");
  assert.equal(opened.source.stats.unacknowledged, 0);
});

Deno.test("an acknowledgement never goes over a later connection, whatever its packet id means there", async () => {
  await using broker = await startFakeBroker();
  await using opened = openTestSource(broker.url);
  await using reader = new Reader(opened.source, { hold: true });
  const first = await broker.accepted();
  first.send(publishPacket(1, 1), publishPacket(2, 2), { cmd: "pubrel", messageId: 3 });
  await reader.until(({ kinds }) => kinds.includes("release"), "the release");
  await first.cut();
  const old = reader.arrivals.slice();
  // While there is no connection, and on the next one.
  opened.source.acknowledge(old);
  const second = await broker.accepted();
  second.send(publishPacket(1, 1, "a", "another message"));
  await reader.count(3);
  opened.source.acknowledge(old);
  await barrier(second, reader);
  await barrier(second, reader);
  assert.deepEqual(acks(second), []);
  opened.source.acknowledge(reader.arrivals);
  await second.next("puback");
  assert.deepEqual(acks(second), ["puback 1"]);
});

Deno.test("arrivals carry the number of their connection and the lost session comes before its messages", async () => {
  await using broker = await startFakeBroker();
  await using opened = openTestSource(broker.url);
  await using reader = new Reader(opened.source, { hold: true });
  const first = await broker.accepted();
  first.send(publishPacket(1, 1));
  await reader.count(1);
  await first.cut();
  const second = await broker.accepted({ sessionPresent: true });
  second.send(publishPacket(1, 1, "a", "b", { dup: true }));
  await reader.count(2);
  await second.cut();
  // The messages come in one segment with CONNACK, before any SUBSCRIBE is answered.
  const third = await broker.client();
  await third.next("connect");
  third.send({ cmd: "connack", sessionPresent: false, reasonCode: 0 }, publishPacket(1, 2, "c"));
  await reader.count(3);
  const seen = reader.arrivals.map((one) =>
    one.kind === "publish"
      ? `${one.connection}:${one.packetId}${one.duplicate ? "+" : ""}`
      : `${one.connection}:lost`
  );
  assert.deepEqual(seen, ["1:lost", "1:1", "2:1+", "3:lost", "3:1"]);
});

Deno.test("a full receive window and a release do not linger", async () => {
  await using broker = await startFakeBroker();
  // A linger that no test would wait for.
  await using opened = openTestSource(broker.url, { lingerMs: 600_000, receiveMaximum: 5 });
  await using reader = new Reader(opened.source);
  const client = await broker.accepted();
  client.send(...[1, 2, 3, 4, 5].map((id) => publishPacket(id, 1)));
  await reader.count(5);
  await waitFor(() => acks(client).length === 5, { what: "five acknowledgements" });
  client.send(publishPacket(6, 2), { cmd: "pubrel", messageId: 9 });
  await client.next("pubcomp");
  assert.equal(reader.publishes.length, 6);
});

Deno.test("MQTT 4: twenty unacknowledged messages count as a full window", async () => {
  await using broker = await startFakeBroker();
  await using opened = openTestSource(broker.url, { version: 4, lingerMs: 600_000 });
  await using reader = new Reader(opened.source);
  const client = await broker.accepted();
  client.send(...Array.from({ length: 20 }, (_, index) => publishPacket(index + 1, 1)));
  await waitFor(() => acks(client).length === 20, { what: "twenty acknowledgements" });
  assert.equal(reader.publishes.length, 20);
});

Deno.test("while acknowledgements are held, pings go on and the connection stays", async () => {
  await using broker = await startFakeBroker();
  await using opened = openTestSource(broker.url, { keepaliveMs: 50 });
  await using reader = new Reader(opened.source, { hold: true });
  const client = await broker.accepted();
  client.send(publishPacket(1, 1));
  await reader.count(1);
  for (let ping = 0; ping < 8; ping++) {
    await client.next("pingreq");
    client.send({ cmd: "pingresp" });
  }
  reader.release();
  await client.next("puback");
  assert.equal(opened.source.stats.connects, 1);
});

Deno.test("a full inbox stops reading without losing the connection, though no PINGRESP can be heard", async () => {
  await using broker = await startFakeBroker();
  await using opened = openTestSource(broker.url, { keepaliveMs: 50 });
  const client = await broker.accepted();
  const payload = "x".repeat(1 << 20);
  const total = 64;
  for (let i = 0; i < total; i++) client.send(publishPacket(0, 0, "a", payload));
  await waitFor(() => opened.source.stats.inboxBytes >= INBOX_BYTES_MAX, { what: "the inbox to be full" });
  for (let ping = 0; ping < 8; ping++) await client.next("pingreq");
  // One packet and one chunk more than the bound at most.
  assert.ok(
    opened.source.stats.inboxBytes < INBOX_BYTES_MAX + (2 << 20),
    `${opened.source.stats.inboxBytes}`,
  );
  await using reader = new Reader(opened.source);
  await reader.count(total);
  assert.equal(opened.source.stats.connects, 1);
});

Deno.test("with a full inbox the source is in no hurry to fetch the same messages again", async () => {
  await using broker = await startFakeBroker();
  const clock = new ManualClock();
  await using opened = openTestSource(broker.url, { clock });
  const first = await broker.accepted();
  for (let i = 0; i < 24; i++) first.send(publishPacket(0, 0, "a", "x".repeat(1 << 20)));
  await waitFor(() => opened.source.stats.inboxBytes >= INBOX_BYTES_MAX, { what: "the inbox to be full" });
  first.socket.resetAndDestroy();
  // A paused socket notices the end only when it writes.
  let filter = 0;
  const written = setInterval(() => opened.source.subscribe([`f${filter++}`]), 5);
  const { retryMs } = await opened.event("disconnected");
  clearInterval(written);
  assert.equal(retryMs, 30_000);
  const { inboxBytes } = opened.source.stats;
  await waitFor(() => clock.waiting === 1, { what: "the source to wait" });
  clock.advance(retryMs);
  const second = await broker.accepted({ sessionPresent: true });
  await opened.event("connected", 2);
  for (let i = 0; i < 8; i++) second.send(publishPacket(0, 0, "a", "x".repeat(1 << 20)));
  await second.next("subscribe");
  assert.ok(opened.source.stats.inboxBytes < inboxBytes + (2 << 20));
});
