/**
 * What Sluice takes for granted about mosquitto and about mqtt-packet, each fact alone: where one of them fails, the
 * ground has moved under `src/mqtt`, although the gateway may still do the right thing.
 *
 * Facts that are faults of one version are checked with that version only; with another one they count as skipped.
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { type IPublishPacket, type Packet, parser } from "mqtt-packet";
import { findProgram } from "../servers/find_program.ts";
import { type Mosquitto, startMosquitto } from "../servers/mosquitto.ts";
import { isAvailable, testWith } from "../servers/needs.ts";
import { openPublisher, type OutgoingMessage, publish } from "../servers/publisher.ts";
import { waitFor } from "../servers/wait_for.ts";
import { BareClient } from "./bare_client.ts";

/** Debian 12's, hence Raspberry Pi OS's: that with which the facts were found. */
const MEASURED = "2.0.11";

function mosquittoVersion(): string | undefined {
  const program = findProgram("mosquitto");
  if (!program) return undefined;
  const { stdout } = new Deno.Command(program, { args: ["-h"] }).outputSync();
  return /version (\S+)/.exec(new TextDecoder().decode(stdout))?.[1];
}

/** A fault that other versions need not have. */
function faultOf(version: string, name: string, fn: () => Promise<void>): void {
  const ignore = !isAvailable("mosquitto") || mosquittoVersion() !== version;
  Deno.test({ name: `mosquitto ${version}: ${name}`, fn, ignore });
}

const numbered = (count: number, more: Partial<OutgoingMessage> = {}): OutgoingMessage[] =>
  Array.from({ length: count }, (_, n) => ({ topic: "a", payload: `${n}`, ...more }));
const ids = (packets: readonly IPublishPacket[]) => packets.map(({ messageId }) => messageId);
const upTo = (count: number) => Array.from({ length: count }, (_, n) => n + 1);

/** A session that is subscribed to `a` and away. */
async function asleep({ url }: Mosquitto, version: 4 | 5 = 5, hello = {}): Promise<void> {
  await using client = await BareClient.open(url, { version, hello });
  assert.deepEqual(await client.subscribe(["a"]), [2]);
}

/** Makes the broker write its sessions to its file, which with these settings it does for nobody else. */
const WRITES_WHEN_TOLD = { persistence: true, config: ["autosave_interval 0"] };
async function written(broker: Mosquitto): Promise<void> {
  const count = () => broker.log(10_000).split("Saving in-memory database").length;
  const before = count();
  await broker.kill("SIGUSR1");
  await waitFor(() => count() > before, { what: "the broker to write its file" });
}

faultOf(
  MEASURED,
  "each PUBACK or PUBCOMP opens a whole further window, so that the receive maximum is no bound",
  async () => {
    await using broker = await startMosquitto();
    for (const qos of [1, 2] as const) {
      const hello = { properties: { receiveMaximum: 20 } };
      await asleep(broker, 5, hello);
      await publish(broker.url, numbered(200), { qos });
      await using client = await BareClient.open(broker.url, { hello });
      await client.barrier();
      assert.equal(client.all("publish").length, 20);
      const { messageId } = client.all("publish")[0]!;
      client.send({ cmd: qos === 1 ? "puback" : "pubrec", messageId });
      if (qos === 2) client.send({ cmd: "pubcomp", messageId });
      await client.barrier();
      assert.ok(client.all("publish").length - 1 > 20, "the window was kept");
      // The next round begins without what is left of this one.
      client.send({ cmd: "disconnect", properties: { sessionExpiryInterval: 0 } });
    }
  },
);

faultOf(
  MEASURED,
  "a QoS 2 PUBLISH comes again after its PUBREL where a connection broke before all PUBRELs were written",
  async () => {
    await using broker = await startMosquitto();
    await asleep(broker);
    await publish(broker.url, numbered(20), { qos: 2 });
    {
      await using client = await BareClient.open(broker.url);
      for (const id of ids(await client.count("publish", 20))) client.send({ cmd: "pubrec", messageId: id });
      await client.count("pubrel", 20);
    }
    await BareClient.passBy(broker);
    await using client = await BareClient.open(broker.url);
    await client.barrier();
    const again = client.all("publish");
    assert.ok(again.length > 0 && again.every(({ dup }) => dup), "only PUBREL came");
  },
);

faultOf(MEASURED, "a session that was begun with a clean start is not written to the file", async () => {
  await using broker = await startMosquitto({ persistence: true });
  for (const clean of [false, true]) {
    await using client = await BareClient.open(broker.url, { clientId: `clean ${clean}`, hello: { clean } });
    await client.subscribe(["a"]);
  }
  await broker.restart();
  for (const clean of [false, true]) {
    await using client = await BareClient.open(broker.url, { clientId: `clean ${clean}` });
    assert.equal(client.connack.sessionPresent, !clean);
  }
});

faultOf(
  MEASURED,
  "rules of an acl_file never refuse a subscription, they only leave its messages out",
  async () => {
    const rules = await Deno.makeTempFile();
    await Deno.writeTextFile(rules, "topic write a\n");
    try {
      await using broker = await startMosquitto({ config: [`acl_file ${rules}`] });
      await using client = await BareClient.open(broker.url);
      assert.deepEqual(await client.subscribe(["a"]), [2]);
      await publish(broker.url, numbered(1));
      await client.barrier();
      assert.deepEqual(client.all("publish"), []);
    } finally {
      await Deno.remove(rules);
    }
  },
);

for (const version of [5, 4] as const) {
  testWith(
    ["mosquitto"],
    `MQTT ${version}: a message that was written to a connection but never read comes marked as a duplicate`,
    async () => {
      await using broker = await startMosquitto();
      await asleep(broker, version);
      await using publisher = await openPublisher(broker.url);
      const deaf = new BareClient(broker.url, { version, deaf: true });
      await waitFor(() => / as bare/.test(broker.log(3)), { what: "the broker to let it in" });
      await publisher.publish("a", "never seen");
      await deaf.cut();
      await using client = await BareClient.open(broker.url, { version });
      const [message] = await client.count("publish", 1);
      assert.equal(message!.dup, true);
    },
  );

  testWith(
    ["mosquitto"],
    `MQTT ${version}: what waits comes behind CONNACK at once, before any SUBSCRIBE is answered`,
    async () => {
      await using broker = await startMosquitto();
      await asleep(broker, version);
      await publish(broker.url, numbered(10), { qos: 2 });
      await using client = new BareClient(broker.url, { version });
      // Behind CONNECT in the same segment.
      await client.subscribe(["b"]);
      assert.deepEqual(client.packets.map(({ cmd }) => cmd), [
        "connack",
        ...Array(10).fill("publish"),
        "suback",
      ]);
    },
  );

  testWith(
    ["mosquitto"],
    `MQTT ${version}: after PUBREC the broker sends PUBREL and never the message, also when it was restarted`,
    async () => {
      await using broker = await startMosquitto({ persistence: true });
      await asleep(broker, version);
      await publish(broker.url, numbered(3), { qos: 2 });
      {
        await using client = await BareClient.open(broker.url, { version });
        for (const id of ids(await client.count("publish", 3))) client.send({ cmd: "pubrec", messageId: id });
        await client.count("pubrel", 3);
      }
      await broker.restart();
      await using client = await BareClient.open(broker.url, { version });
      await client.barrier();
      const kinds = client.packets.slice(1, -1).map((it) => `${it.cmd} ${it.messageId}`);
      assert.deepEqual(kinds, ["pubrel 1", "pubrel 2", "pubrel 3"]);
    },
  );

  testWith(
    ["mosquitto"],
    `MQTT ${version}: packet ids count up, and go on after an orderly restart`,
    async () => {
      await using broker = await startMosquitto({ persistence: true });
      await asleep(broker, version);
      await publish(broker.url, numbered(5));
      {
        await using client = await BareClient.open(broker.url, { version });
        const messages = await client.count("publish", 5);
        assert.deepEqual(ids(messages), upTo(5));
        for (const id of ids(messages)) client.send({ cmd: "puback", messageId: id });
        await client.barrier();
      }
      await broker.restart();
      await publish(broker.url, numbered(2));
      await using client = await BareClient.open(broker.url, { version });
      assert.deepEqual(ids(await client.count("publish", 2)), [6, 7]);
    },
  );

  testWith(
    ["mosquitto"],
    `MQTT ${version}: a broker restored from an older file sends acknowledged messages again, marked only if it had sent them by then`,
    async () => {
      for (const sent of [true, false]) {
        await using broker = await startMosquitto(WRITES_WHEN_TOLD);
        await asleep(broker, version);
        await publish(broker.url, numbered(4));
        if (!sent) await written(broker);
        {
          await using client = await BareClient.open(broker.url, { version });
          const messages = await client.count("publish", 4);
          if (sent) await written(broker);
          for (const id of ids(messages)) client.send({ cmd: "puback", messageId: id });
          await client.barrier();
        }
        await broker.kill();
        await broker.restart();
        await using client = await BareClient.open(broker.url, { version });
        assert.equal(client.connack.sessionPresent, true);
        const again = await client.count("publish", 4);
        assert.deepEqual(ids(again), upTo(4));
        assert.ok(again.every(({ dup }) => dup === sent));
      }
    },
  );

  testWith(
    ["mosquitto"],
    `MQTT ${version}: a broker restored from an older file resumes the session without its younger subscriptions`,
    async () => {
      await using broker = await startMosquitto(WRITES_WHEN_TOLD);
      await asleep(broker, version);
      await written(broker);
      {
        await using client = await BareClient.open(broker.url, { version });
        await client.subscribe(["b"]);
      }
      await broker.kill();
      await broker.restart();
      await using client = await BareClient.open(broker.url, { version });
      assert.equal(client.connack.sessionPresent, true);
      await publish(broker.url, [...numbered(1, { topic: "b" }), ...numbered(1)]);
      assert.deepEqual((await client.count("publish", 1)).map(({ topic }) => topic), ["a"]);
    },
  );
}

testWith(
  ["mosquitto"],
  "MQTT 5: with retain handling 1 retained messages come with a new subscription only",
  async () => {
    await using broker = await startMosquitto();
    await publish(broker.url, numbered(1, { retain: true }));
    await using client = await BareClient.open(broker.url);
    for (const [rh, count] of [[1, 1], [1, 1], [0, 2]] as const) {
      await client.subscribe(["a"], { rh, rap: true });
      await client.barrier();
      assert.equal(client.all("publish").length, count);
    }
    await publish(broker.url, numbered(1, { retain: true }));
    await client.count("publish", 3);
    assert.ok(client.all("publish").every(({ retain }) => retain), "retain as published");
  },
);

testWith(
  ["mosquitto"],
  "MQTT 4: retained messages come with every SUBSCRIBE, and only these are marked as retained",
  async () => {
    await using broker = await startMosquitto();
    await publish(broker.url, numbered(1, { retain: true }));
    await using client = await BareClient.open(broker.url, { version: 4 });
    for (const count of [1, 2, 3]) {
      await client.subscribe(["a"]);
      await client.barrier();
      assert.equal(client.all("publish").length, count);
    }
    await publish(broker.url, numbered(1, { retain: true }));
    await client.count("publish", 4);
    assert.deepEqual(client.all("publish").map(({ retain, dup }) => [retain, dup]), [
      ...Array(3).fill([true, false]),
      [false, false],
    ]);
  },
);

testWith(["mosquitto"], "MQTT 5: two filters that overlap bring a message twice", async () => {
  await using broker = await startMosquitto();
  await using client = await BareClient.open(broker.url);
  await client.subscribe(["a/#", "+/b"]);
  await publish(broker.url, numbered(1, { topic: "a/b" }));
  await client.count("publish", 2);
});

faultOf(
  MEASURED,
  "a client that another one with its id pushes out is not told so, by MQTT 5 either",
  async () => {
    await using broker = await startMosquitto();
    for (const version of [5, 4] as const) {
      await using first = await BareClient.open(broker.url, { version });
      await using second = await BareClient.open(broker.url, { version });
      await waitFor(() => first.closed, { what: "the first one to be pushed out" });
      assert.deepEqual(first.packets.map(({ cmd }) => cmd), ["connack"]);
      assert.equal(second.connack.sessionPresent, true);
    }
  },
);

testWith(
  ["mosquitto"],
  "$SYS tells at once how many messages were dropped, of which version it is, and its age in seconds",
  async () => {
    await using broker = await startMosquitto({ config: ["sys_interval 1", "max_queued_messages 10"] });
    await asleep(broker);
    await publish(broker.url, numbered(60));
    const topics = ["publish/messages/dropped", "version", "uptime"].map((it) => `$SYS/broker/${it}`);
    await waitFor(async () => {
      await using client = await BareClient.open(broker.url, {
        version: 4,
        clientId: "watch",
        hello: { clean: true },
      });
      await client.subscribe(topics);
      await client.barrier();
      const told = new Map(client.all("publish").map(({ topic, payload }) => [topic, String(payload)]));
      return Number(told.get(topics[0]!)) > 0 && /^mosquitto version/.test(told.get(topics[1]!)!) &&
        /^\d+ seconds$/.test(told.get(topics[2]!)!);
    }, { what: "all three", intervalMs: 100 });
  },
);

testWith(
  ["mosquitto"],
  "a message above the client's maximum packet size is left out, without a word",
  async () => {
    await using broker = await startMosquitto({ config: ["sys_interval 1"] });
    await using client = await BareClient.open(broker.url, {
      hello: { properties: { maximumPacketSize: 1000 } },
    });
    await client.subscribe(["a"]);
    const big = { topic: "a", payload: "x".repeat(2000) };
    assert.equal((await publish(broker.url, [big, ...numbered(1)])).length, 2, "accepted");
    const [only] = await client.count("publish", 1);
    assert.equal(String(only!.payload), "0");
    assert.equal(client.closed, false);
  },
);

/** Feeds bytes to a parser as the connection does; collects what comes of it. */
function parsed(...chunks: Uint8Array[]): { packets: Packet[]; errors: Error[]; length: number } {
  const reader = parser({ protocolVersion: 5 }) as ReturnType<typeof parser> & { packet: { length: number } };
  const packets: Packet[] = [];
  const errors: Error[] = [];
  reader.on("packet", (packet) => packets.push(packet));
  reader.on("error", (error) => errors.push(error));
  for (const chunk of chunks) reader.parse(chunk as Buffer);
  return { packets, errors, length: reader.packet.length };
}

const PUBLISH = Buffer.from([0x30, 5, 0, 1, 97, 0, 98]);

Deno.test("mqtt-packet knows the length of a packet as soon as its header is complete, and not before", () => {
  assert.equal(parsed(Buffer.from([0x30])).length, -1);
  assert.equal(parsed(Buffer.from([0x30, 0x80, 0x84])).length, -1);
  assert.equal(parsed(Buffer.from([0x30, 0x80, 0x84, 0xaf, 0x5f])).length, 200_000_000);
  assert.equal(parsed(PUBLISH).length, -1);
});

Deno.test("mqtt-packet goes on in the middle of the stream after an error: whoever uses it must stop", () => {
  const broken = parsed(Buffer.from([0x00, 0]), PUBLISH);
  assert.equal(broken.errors.length, 1);
  assert.equal(broken.packets.length, 1, "it stops by itself now");
});

Deno.test("mqtt-packet hands over all packets of a chunk in one call, in their order", () => {
  const { packets } = parsed(Buffer.concat([PUBLISH, Buffer.from([0xd0, 0]), PUBLISH]));
  assert.deepEqual(packets.map(({ cmd }) => cmd), ["publish", "pingresp", "publish"]);
});
