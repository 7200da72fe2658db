/**
 * From a real mosquitto client to a real table: 10,000 messages on 50 topics, each of them there, once, in order,
 * byte for byte, for both databases, all three QoS and both protocol versions.
 */
import assert from "node:assert/strict";
import { createConnection } from "mysql2/promise";
import { diskBytes } from "../bench/process.ts";
import type { Database } from "../servers/database.ts";
import { startMosquitto } from "../servers/mosquitto.ts";
import { eachDatabase, testWith } from "../servers/needs.ts";
import { checkSums, Sluice } from "./sluice.ts";

const TOPICS = 50;
const LINES_PER_TOPIC = 200;

const encoder = new TextEncoder();

/** Payloads that have hurt someone. */
const HURTING: readonly Uint8Array[] = [
  new Uint8Array(),
  encoder.encode("🏡 Home 👩‍👩‍👧‍👦"),
  encoder.encode(`it's "quoted" and \\ back\\'slashed \`tick\` -- ; DROP TABLE messages; /*`),
  encoder.encode("before\0after"),
  new Uint8Array([0xff, 0xfe, 0xc3, 0x28, 0x80, 0x00, 0xed, 0xa0, 0x80]),
  Uint8Array.from({ length: 256 }, (_, i) => i),
  new Uint8Array(1 << 20).fill(0x61),
  encoder.encode('{"big": 9007199254740993}'),
  encoder.encode('{"temperature": "21.5", "count": "007"}'),
  encoder.encode('{"__proto__": {"polluted": true}, "constructor": null}'),
  encoder.encode("\r\n\t \x1a%s?::name"),
];

async function mosquittoPub(args: string[], stdin: Uint8Array): Promise<void> {
  const child = new Deno.Command("mosquitto_pub", { args, stdin: "piped", stdout: "null", stderr: "piped" })
    .spawn();
  const errors = new Response(child.stderr).text();
  const writer = child.stdin.getWriter();
  await writer.write(stdin).catch(() => {});
  await writer.close().catch(() => {});
  const { code } = await child.status;
  assert.equal(code, 0, `mosquitto_pub ${args.join(" ")}: ${await errors}`);
}

const topicName = (i: number) => `Home/room${i}/climate`;

/** Publishes everything and returns what each topic must hold, in order. */
async function publishAll(port: number, qos: number, version: number): Promise<Map<string, string[]>> {
  const expected = new Map<string, string[]>();
  const common = [
    "-h",
    "127.0.0.1",
    "-p",
    `${port}`,
    "-q",
    `${qos}`,
    "-V",
    version === 5 ? "mqttv5" : "mqttv311",
  ];
  const publishTopic = async (i: number) => {
    const lines = Array.from(
      { length: LINES_PER_TOPIC },
      (_, n) => JSON.stringify({ topic: i, n, temperature: 20 + n / 10, note: "ä€😀'\"\\" }),
    );
    await mosquittoPub([...common, "-t", topicName(i), "-l"], encoder.encode(lines.join("\n") + "\n"));
    expected.set(topicName(i), lines.map((line) => hex(encoder.encode(line))));
  };
  const queue = Array.from({ length: TOPICS }, (_, i) => i);
  const workers = Array.from({ length: 5 }, async () => {
    for (let i = queue.shift(); i !== undefined; i = queue.shift()) await publishTopic(i);
  });
  await Promise.all(workers);
  for (const payload of HURTING) {
    await mosquittoPub([...common, "-t", "Home/hurting", payload.length === 0 ? "-n" : "-s"], payload);
  }
  expected.set("Home/hurting", HURTING.map(hex));
  return expected;
}

const hex = (bytes: Uint8Array) =>
  bytes.length > 1_000 ? `${bytes.length} bytes of ${bytes[0]}` : bytes.toHex();

async function storedRows(url: string): Promise<Map<string, string[]>> {
  const connection = await createConnection({ uri: url });
  try {
    const [rows] = await connection.query("SELECT topic, payload FROM messages ORDER BY id");
    const stored = new Map<string, string[]>();
    for (const { topic, payload } of rows as { topic: string; payload: Uint8Array }[]) {
      const list = stored.get(topic) ?? [];
      list.push(hex(payload));
      stored.set(topic, list);
    }
    return stored;
  } finally {
    await connection.end();
  }
}

async function everyRow(database: Database, qos: number, version: number): Promise<void> {
  await using broker = await startMosquitto();
  const url = database.url(await database.createDatabase());
  await using sluice = await Sluice.start({
    config: { broker: { url: broker.url, version }, database: { url } },
  });
  await sluice.until("the broker to be connected", (status) => status.broker.connected);
  const expected = await publishAll(broker.port, qos, version);
  const count = TOPICS * LINES_PER_TOPIC + HURTING.length;
  const status = await sluice.until(`${count} messages to be stored`, ({ totals }) => totals.stored >= count);
  checkSums(status);
  assert.equal(status.totals.stored, count);
  assert.equal(status.totals.dead, 0);
  const stored = await storedRows(url);
  assert.deepEqual([...stored.keys()].sort(), [...expected.keys()].sort());
  for (const [topic, payloads] of expected) assert.deepEqual(stored.get(topic), payloads, topic);
  // On the machine's own account, which the program may not read.
  const { written } = diskBytes(sluice.pid);
  await sluice.until("what it wrote to be told", ({ spool }) => spool.bytes_written >= written / 2);
  assert.equal(await sluice.stop(), 0, sluice.output);
}

eachDatabase((flavour, start) => {
  testWith(
    ["mosquitto", flavour],
    `${flavour} holds each of 10,000 messages once and byte for byte, for every QoS and protocol version`,
    async (t) => {
      await using database = await start();
      for (const version of [5, 4]) {
        for (const qos of [0, 1, 2]) {
          await t.step(
            `QoS ${qos}, MQTT ${version === 5 ? "5" : "3.1.1"}`,
            () => everyRow(database, qos, version),
          );
        }
      }
    },
  );
});
