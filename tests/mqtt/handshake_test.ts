/** From CONNECT to CONNACK, and everything that may answer instead of a broker. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { waitFor } from "../servers/wait_for.ts";
import { connack, type FakeClient, publishPacket, startFakeBroker } from "./fake_broker.ts";
import { ManualClock } from "./manual_clock.ts";
import { openTestSource } from "./opened_source.ts";
import { Reader } from "./reader.ts";

for (const version of [5, 4] as const) {
  Deno.test(`MQTT ${version}: CONNECT asks for the session and names keepalive, user and password`, async () => {
    await using broker = await startFakeBroker();
    await using _opened = openTestSource(broker.url, {
      version,
      clientId: "sluice-attic",
      username: "sluice",
      password: () => Promise.resolve("pässword"),
      keepaliveMs: 30_000,
      sessionExpirySec: 3600,
    });
    const hello = await (await broker.client()).next("connect");
    assert.equal(hello.clean, false);
    assert.equal(hello.clientId, "sluice-attic");
    assert.equal(hello.keepalive, 30);
    assert.equal(hello.username, "sluice");
    assert.equal(hello.password?.toString(), "pässword");
    assert.equal(hello.protocolVersion, version);
    assert.deepEqual(
      hello.properties,
      version === 5
        ? { sessionExpiryInterval: 3600, receiveMaximum: 1000, maximumPacketSize: 64 * 1024 * 1024 }
        : undefined,
    );
  });

  Deno.test(`MQTT ${version}: a refused CONNACK is reported and tried again until it is accepted`, async () => {
    await using broker = await startFakeBroker();
    await using opened = openTestSource(broker.url, { version });
    for (let attempt = 0; attempt < 3; attempt++) {
      const client = await broker.client();
      await client.next("connect");
      client.send(connack(version === 5 ? 136 : 3));
      await client.gone();
    }
    await broker.accepted();
    await opened.event("connected");
    const refusals = opened.events.filter((event) => event.kind === "refused");
    assert.equal(refusals.length, 3);
    assert.match(refusals[0]!.error.message, /refuses the log-in: it is not available/);
  });

  Deno.test(`MQTT ${version}: a wrong password is said in a sentence and tried again after five seconds`, async () => {
    await using broker = await startFakeBroker();
    const clock = new ManualClock();
    const passwords = ["wrong", "right"];
    await using opened = openTestSource(broker.url, {
      version,
      clock,
      username: "sluice",
      password: () => Promise.resolve(passwords.shift()),
    });
    const first = await broker.client();
    await first.next("connect");
    first.send(connack(version === 5 ? 134 : 4));
    const { error, retryMs } = await opened.event("refused");
    assert.match(error.message, /user name or password is wrong/);
    assert.match(error.hint!, /broker\.password/);
    assert.doesNotMatch(error.message + error.hint, /wrong"|right/);
    assert.equal(retryMs, 5000);
    await waitFor(() => clock.waiting === 1, { what: "the source to wait" });
    clock.advance(4999);
    assert.equal(broker.clients.length, 1);
    clock.advance(1);
    const hello = await (await broker.client()).next("connect");
    assert.equal(hello.password?.toString(), "right");
  });
}

/** What a stranger may answer to CONNECT, and what is said of it. */
const STRANGERS: readonly [name: string, answer: (client: FakeClient) => void, said: RegExp][] = [
  [
    "the HTML of a captive portal",
    (client) => client.sendBytes("HTTP/1.1 302 Found\r\nLocation: http://login/\r\n\r\n<html>"),
    /is not an MQTT broker/,
  ],
  [
    "a first packet other than CONNACK",
    (client) => client.send(publishPacket(1, 1)),
    /the first packet is publish/,
  ],
  [
    "an AUTH that nobody asked for",
    (client) => client.send({ cmd: "auth", reasonCode: 0x18, properties: { authenticationMethod: "x" } }),
    /the first packet is auth/,
  ],
  ["an endless CONNACK", (client) => client.sendBytes(Buffer.from([0x20, 0xff, 0xff, 0xff, 0x7f])), /limit/],
  ["an end of the stream", (client) => client.socket.end(), /closed the connection during the log-in/],
  ["a reset", (client) => client.socket.resetAndDestroy(), /closed the connection/],
];

for (const [name, answer, said] of STRANGERS) {
  Deno.test(`${name} in place of CONNACK ends the attempt, and the next one is made`, async () => {
    await using broker = await startFakeBroker();
    await using opened = openTestSource(broker.url);
    const stranger = await broker.client();
    await stranger.next("connect");
    answer(stranger);
    await stranger.gone();
    const { error } = await opened.event("refused");
    assert.match(error.message, said);
    await broker.accepted();
    await opened.event("connected");
  });
}

Deno.test("a server that accepts and then keeps silent is given up after the deadline", async () => {
  await using broker = await startFakeBroker();
  await using opened = openTestSource(broker.url, { connectTimeoutMs: 100 });
  await (await broker.client()).gone();
  const { error } = await opened.event("refused");
  assert.match(error.message, /takes the connection but does not answer the log-in/);
  await broker.accepted();
  await opened.event("connected");
});

Deno.test("a password that cannot be read is a failed attempt, not the end", async () => {
  await using broker = await startFakeBroker();
  let tries = 0;
  await using opened = openTestSource(broker.url, {
    username: "sluice",
    password: () => tries++ === 0 ? Promise.reject(new Error("no such file")) : Promise.resolve("secret"),
  });
  const { error } = await opened.event("refused");
  assert.match(error.message, /no such file/);
  await broker.accepted();
  await opened.event("connected");
});

Deno.test("a port where nobody listens is reported with what to do", async () => {
  const broker = await startFakeBroker();
  const { url } = broker;
  await broker[Symbol.asyncDispose]();
  await using opened = openTestSource(url);
  const { error } = await opened.event("refused");
  assert.match(error.message, /nothing listens there/);
  assert.match(error.hint!, /is the broker running/);
  assert.equal(error.kind, "unreachable");
  assert.equal(opened.source.stats.connected, false);
  assert.equal(opened.source.stats.lastError?.kind, "unreachable");
});

const BROKEN: readonly [name: string, bytes: (client: FakeClient) => Uint8Array][] = [
  ["garbage", () => Buffer.from("<html>you are offline</html>".repeat(10))],
  ["a header of 200 MB", () => Buffer.from([0x32, 0x80, 0x84, 0xaf, 0x5f, 0, 1, 97])],
  ["a PUBLISH without a packet id", (client) => client.encode(publishPacket(7, 1)).fill(0, 5, 7)],
  ["a PUBLISH without a topic", () => Buffer.from([0x30, 5, 0, 0, 0, 65, 66])],
  ["a PINGREQ from the broker", () => Buffer.from([0xc0, 0])],
];

for (const [name, bytes] of BROKEN) {
  Deno.test(`${name} in the stream ends the connection; what came before it is kept, what comes after is not`, async () => {
    await using broker = await startFakeBroker();
    await using opened = openTestSource(broker.url);
    await using reader = new Reader(opened.source, { hold: true });
    const first = await broker.accepted();
    const good = first.encode(publishPacket(1, 1));
    first.sendBytes(Buffer.concat([good, bytes(first), good]));
    await first.gone();
    const { error } = await opened.event("disconnected");
    assert.equal(error.kind, "protocol");
    assert.match(error.message, /broke the rules of MQTT/);
    const second = await broker.accepted({ sessionPresent: true });
    second.send(publishPacket(1, 1, "a", "again", { dup: true }));
    await reader.count(2);
    assert.deepEqual(reader.payloads, ["payload 1", "again"]);
  });
}

Deno.test("packets that arrive byte by byte are the same packets", async () => {
  await using broker = await startFakeBroker();
  await using opened = openTestSource(broker.url);
  await using reader = new Reader(opened.source);
  const client = await broker.accepted();
  const bytes = Buffer.concat([
    client.encode(publishPacket(1, 1, "Home/küche", "x".repeat(200))),
    client.encode(publishPacket(2, 2, "a", "", { retain: true })),
    client.encode({ cmd: "pubrel", messageId: 2 }),
  ]);
  for (const byte of bytes) {
    client.sendBytes(Buffer.from([byte]));
    await new Promise((resolve) => setImmediate(resolve));
  }
  await reader.until(({ arrivals }) => arrivals.length === 4, "all arrivals");
  assert.deepEqual(reader.kinds, ["sessionLost", "publish", "publish", "release"]);
  const [one, two] = reader.publishes;
  assert.deepEqual([one!.topic, one!.payload.length, one!.qos], ["Home/küche", 200, 1]);
  assert.deepEqual([two!.packetId, two!.payload.length, two!.qos, two!.retain], [2, 0, 2, true]);
});

Deno.test("a broker that goes silent is given up after one and a half keepalives", async () => {
  await using broker = await startFakeBroker();
  await using opened = openTestSource(broker.url, { keepaliveMs: 100 });
  const client = await broker.accepted();
  await client.next("pingreq");
  await client.gone();
  assert.match((await opened.event("disconnected")).error.message, /has gone silent/);
  await broker.accepted();
  await opened.event("connected", 2);
});

Deno.test("a broker that orders a shorter keepalive is heard", async () => {
  await using broker = await startFakeBroker();
  await using _opened = openTestSource(broker.url, { keepaliveMs: 600_000 });
  const client = await broker.client();
  await client.next("connect");
  client.send(connack(0, false, { serverKeepAlive: 1 }));
  await client.next("pingreq");
});

Deno.test("a takeover is named, and the source does not push back for five seconds", async () => {
  await using broker = await startFakeBroker();
  await using opened = openTestSource(broker.url);
  const client = await broker.accepted();
  client.send({ cmd: "disconnect", reasonCode: 142 });
  await client.gone();
  const { error, retryMs } = await opened.event("disconnected");
  assert.equal(error.kind, "takenOver");
  assert.match(error.message, /another client uses the same client id/);
  assert.ok(retryMs >= 5000);
});

Deno.test("MQTT 4: a broker that closes again and again soon after the log-in is suspected of a takeover", async () => {
  await using broker = await startFakeBroker();
  await using opened = openTestSource(broker.url, { version: 4 });
  for (let time = 1; time <= 5; time++) {
    const client = await broker.accepted();
    client.socket.end();
    await client.gone();
  }
  const fifth = await waitFor(() => opened.events.filter(({ kind }) => kind === "disconnected")[4], {
    what: "the fifth end",
  });
  assert.ok(fifth.kind === "disconnected" && fifth.retryMs >= 5000);
  assert.match(fifth.error.hint!, /same client id/);
});

Deno.test("a lost session is told apart from the first one", async () => {
  await using broker = await startFakeBroker();
  await using opened = openTestSource(broker.url);
  const first = await broker.accepted();
  await opened.event("connected");
  await first.cut();
  await broker.accepted();
  await opened.event("sessionNotResumed");
  const kinds = opened.events.map(({ kind }) => kind);
  assert.deepEqual(kinds, ["connected", "disconnected", "connected", "sessionNotResumed"]);
});

Deno.test("closing says DISCONNECT, keeps the session, and is over within a second even if nobody answers", async () => {
  await using broker = await startFakeBroker();
  const opened = openTestSource(broker.url);
  const client = await broker.accepted();
  await opened.event("connected");
  client.socket.allowHalfOpen = true;
  await opened[Symbol.asyncDispose]();
  const goodbye = await client.next("disconnect");
  assert.equal(goodbye.reasonCode ?? 0, 0);
  assert.equal(goodbye.properties?.sessionExpiryInterval, undefined);
});

Deno.test("closing in the middle of connecting, and while waiting to connect, leaves nothing open", async () => {
  const broker = await startFakeBroker();
  const connecting = openTestSource(broker.url);
  await broker.client();
  await connecting[Symbol.asyncDispose]();
  const { url } = broker;
  await broker[Symbol.asyncDispose]();
  const waiting = openTestSource(url, { random: () => 0.99 });
  await waiting.event("refused");
  await waiting[Symbol.asyncDispose]();
});
