/** What the source makes of its session: whose it is, how long it is kept, what it still holds, and who else wants it. */
import assert from "node:assert/strict";
import { startMosquitto } from "../servers/mosquitto.ts";
import { testWith } from "../servers/needs.ts";
import { startProxy } from "../servers/proxy.ts";
import { publish } from "../servers/publisher.ts";
import { waitFor } from "../servers/wait_for.ts";
import { connack, type FakeClient, publishPacket, startFakeBroker } from "./fake_broker.ts";
import { ManualClock } from "./manual_clock.ts";
import { openTestSource } from "./opened_source.ts";
import { Reader } from "./reader.ts";

Deno.test("a session that the broker has, but of which nothing was noted, counts as lost; a noted one does not", async () => {
  for (const [previousFilters, kinds] of [[[], ["sessionLost", "publish"]], [["#"], ["publish"]]]) {
    await using broker = await startFakeBroker();
    await using opened = openTestSource(broker.url, { previousFilters });
    await using reader = new Reader(opened.source);
    const client = await broker.accepted({ sessionPresent: true });
    client.send(publishPacket(1, 1, "a", "x", { dup: true }));
    await reader.count(1);
    assert.deepEqual(reader.kinds, kinds);
    assert.ok(
      !opened.events.some(({ kind }) => kind === "sessionNotResumed"),
      "nothing that we knew was lost",
    );
  }
});

Deno.test("a lost session stays lost where the connection that told so ends before it is on disk", async () => {
  await using broker = await startFakeBroker();
  await using opened = openTestSource(broker.url, { previousFilters: ["#"] });
  await broker.accepted();
  await opened.event("sessionNotResumed");
  assert.deepEqual(opened.subscribed, [[]], "a process that is killed here finds nothing noted");
  await broker.clients[0]!.cut();
  const client = await broker.accepted({ sessionPresent: true });
  client.send(publishPacket(1, 1, "a", "x", { dup: true }));
  await using reader = new Reader(opened.source);
  await reader.count(1);
  assert.deepEqual(reader.arrivals.map(({ kind, connection }) => `${kind} ${connection}`), [
    "sessionLost 1",
    "publish 2",
  ]);
});

/** The next connection, accepted with these properties, which then breaks. */
async function grantsExpiry(client: FakeClient, sessionExpiryInterval?: number): Promise<void> {
  await client.next("connect");
  client.send(connack(0, true, sessionExpiryInterval === undefined ? {} : { sessionExpiryInterval }));
  await client.next("subscribe");
  client.socket.resetAndDestroy();
}

Deno.test("a session that the broker keeps for less long than asked for is told, once", async () => {
  await using broker = await startFakeBroker();
  await using opened = openTestSource(broker.url, { sessionExpirySec: 3600 });
  for (const granted of [undefined, 60, 60, 0, undefined, 7200, 60]) {
    await grantsExpiry(await broker.client(), granted);
  }
  await broker.client();
  const told = opened.events.flatMap((it) => it.kind === "sessionExpires" ? [it.grantedSec] : []);
  assert.deepEqual(told, [60, 0, 60]);
});

Deno.test("a session that shall not be kept is told, once; MQTT 4 has no word for it", async () => {
  for (const [version, count] of [[5, 1], [4, 0]] as const) {
    await using broker = await startFakeBroker();
    await using opened = openTestSource(broker.url, { version, sessionExpirySec: 0 });
    for (let connects = 0; connects < 3; connects++) await grantsExpiry(await broker.client());
    await broker.client();
    assert.equal(opened.events.filter(({ kind }) => kind === "sessionExpires").length, count);
  }
});

Deno.test("a broker that has moved is told with where to, and not asked again soon", async () => {
  await using broker = await startFakeBroker();
  await using opened = openTestSource(broker.url);
  const client = await broker.client();
  await client.next("connect");
  client.send(connack(157, false, { serverReference: "other.home:1883", reasonString: "new house" }));
  const { error, retryMs } = await opened.event("refused");
  assert.match(error.message, /has moved for good \("new house"; it names other\.home:1883\)/);
  assert.match(error.hint!, /broker\.url/);
  assert.ok(retryMs >= 5000);
});

Deno.test("two clients that push each other out wait longer and longer, for all the time that each of them stood", async () => {
  await using broker = await startFakeBroker();
  const clock = new ManualClock();
  await using opened = openTestSource(broker.url, { clock, random: () => 0.99, keepaliveMs: 0 });
  const waits: number[] = [];
  for (let time = 1; time <= 5; time++) {
    const client = await broker.accepted();
    await waitFor(() => opened.source.stats.connects === time, { what: "the log-in to be seen" });
    // Longer than what counts as a good connection otherwise.
    clock.advance(15_000);
    client.send({ cmd: "disconnect", reasonCode: 142 });
    await client.gone();
    const ends = () => opened.events.filter((event) => event.kind === "disconnected");
    const { retryMs } = await waitFor(() => ends()[time - 1], { what: "the end" });
    waits.push(retryMs);
    await waitFor(() => clock.waiting === 1, { what: "the source to wait" });
    clock.advance(retryMs);
  }
  assert.ok(waits.every((wait, n) => n === 0 || wait > waits[n - 1]!), `${waits}`);
});

Deno.test("MQTT 4: a packet that is too large is said with what to do, and not fetched again soon", async () => {
  await using broker = await startFakeBroker();
  await using opened = openTestSource(broker.url, { version: 4 });
  await using reader = new Reader(opened.source);
  const client = await broker.accepted();
  client.send(publishPacket(1, 1));
  client.sendBytes(new Uint8Array([0x32, 0x80, 0x84, 0xaf, 0x5f, 0, 1, 97]));
  await client.gone();
  const { error, retryMs } = await opened.event("disconnected");
  assert.match(error.message, /announces a packet of 200000000 bytes; 67108864 are the limit/);
  assert.match(error.hint!, /max_packet_size/);
  assert.ok(retryMs >= 5000);
  await reader.count(1);
});

testWith(
  ["mosquitto"],
  "a broker that comes back with an older session gets its subscriptions again, by MQTT 4 as well",
  async () => {
    for (const version of [5, 4] as const) {
      for (const restarted of [false, true]) {
        await using broker = await startMosquitto({ persistence: true, config: ["autosave_interval 0"] });
        await using proxy = await startProxy({ target: broker.port, log: false });
        // The gateway knows a filter that the broker's file does not.
        let first = openTestSource(proxy.url(), { version, filters: ["a"] });
        await first.ready();
        const saved = () => broker.log(1000).split("Saving in-memory").length;
        const before = saved();
        await broker.kill("SIGUSR1");
        await waitFor(() => saved() > before, { what: "the broker to write its file" });
        first.source.subscribe(["a", "b"]);
        await waitFor(() => first.source.stats.subscriptions["b"] === 2, { what: "the second filter" });
        const previousFilters = first.subscribed.at(-1)!;
        if (restarted) await first[Symbol.asyncDispose]();
        await broker.kill();
        await broker.restart();
        if (restarted) first = openTestSource(proxy.url(), { version, filters: ["a", "b"], previousFilters });
        await using opened = first;
        await using reader = new Reader(opened.source);
        await waitFor(() => opened.source.stats.connected, { what: "the connection" });
        await waitFor(async () => {
          await publish(broker.url, [{ topic: "b", payload: "1" }]);
          return reader.publishes.length > 0;
        }, { what: `a message for the forgotten filter, MQTT ${version}`, intervalMs: 100 });
        assert.ok(!opened.events.some(({ kind }) => kind === "sessionNotResumed"));
      }
    }
  },
);

testWith(
  ["mosquitto"],
  "MQTT 4: a line that breaks brings no retained message again, because the broker is the same",
  async () => {
    await using broker = await startMosquitto({ config: ["sys_interval 1"] });
    await using proxy = await startProxy({ target: broker.port, log: true });
    await publish(broker.url, [{ topic: "a", payload: "1", retain: true, qos: 0 }]);
    await using opened = openTestSource(proxy.url(), { version: 4, filters: ["a"] });
    await using reader = new Reader(opened.source);
    await reader.count(1);
    // The broker tells its age in whole seconds and only now and then: it must be older than that.
    const clientId = "clock";
    await using watch = openTestSource(broker.url, { version: 4, clientId, filters: ["$SYS/broker/uptime"] });
    await using clock = new Reader(watch.source);
    await clock.until(
      ({ payloads }) => parseInt(payloads.at(-1) ?? "0") >= 3,
      "the broker to be three seconds old",
    );
    for (let connects = 2; connects <= 4; connects++) {
      proxy.cut();
      await waitFor(() => opened.source.stats.connects === connects, { what: "the next connection" });
      const told = () => new TextDecoder().decode(proxy.wire("down", connects)).includes("broker/uptime");
      await waitFor(told, { what: "the broker to tell its age" });
      // Its age was read before the first answer, and whatever is asked for because of it is answered before the second.
      for (const round of [1, 2]) {
        const filter = `barrier/${connects}/${round}`;
        opened.source.subscribe(["a", filter]);
        await waitFor(() => opened.source.stats.subscriptions[filter] === 2, { what: "an answer" });
      }
    }
    await publish(broker.url, [{ topic: "a", payload: "2" }]);
    await reader.until(({ payloads }) => payloads.includes("2"), "the live message");
    assert.deepEqual(reader.payloads, ["1", "2"]);
  },
);
