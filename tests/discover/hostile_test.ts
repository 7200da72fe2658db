/**
 * Discovery of what means harm: nothing is thrown, nothing is kept without bound, and what is proposed is always a
 * configuration that can be loaded and tables that can be made.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { formatFound, found } from "../../src/cli/found.ts";
import { withRoutes } from "../../src/cli/add_routes.ts";
import { parseConfig } from "../../src/config/load.ts";
import { readDiscovery } from "../../src/discover/home_assistant.ts";
import { Observation } from "../../src/discover/observation.ts";
import { type Proposal, propose } from "../../src/discover/proposal.ts";
import type { Message } from "../../src/message.ts";
import { hostileMessages } from "../hostile.ts";

const message = (topic: string, payload: Uint8Array): Message => ({
  topic,
  payload,
  qos: 0,
  retain: false,
  receivedAtMs: 0,
});
const encode = (text: string) => new TextEncoder().encode(text);

/** What is proposed can be shown, written and loaded; and each route takes the topics that it was made of. */
function assertUsable(proposals: readonly Proposal[]): void {
  const source = `{ "broker": { "url": "mqtt://a" }, "database": { "url": "mysql://a@b/c" }, "routes": [] }`;
  for (const proposal of proposals) {
    const { config } = parseConfig(withRoutes(source, [proposal.route]), "/a.json");
    assert.ok(config.routes.length > 0);
    if (proposal.route.topic !== undefined) assert.equal(config.routes[0].topic, proposal.route.topic);
    const it = found(proposal, "attic");
    assert.doesNotMatch(formatFound(it).replaceAll("\n", ""), /\p{Cc}/u, "a terminal is done no harm");
    JSON.stringify(it);
    if (proposal.route.preset === undefined && proposal.topics.some(({ sample }) => sample)) {
      assert.notEqual(it.sample?.reason, undefined);
    }
  }
  // All together, as --write adds them.
  parseConfig(withRoutes(source, proposals.map(({ route }) => route)), "/a.json");
}

Deno.test("what means harm is proposed like anything else, and nothing comes of it", () => {
  const observation = new Observation();
  for (const root of ["Home", "zigbee2mqtt", "tele", "homeassistant", "a"]) {
    for (const { topic, payload } of hostileMessages(root)) observation.add(message(topic, payload));
  }
  const proposals = propose(observation);
  assert.ok(proposals.length > 20);
  assertUsable(proposals);
  assert.equal(({} as { polluted?: number }).polluted, undefined);
  const tables = proposals.map(({ route }) => route.table?.toLowerCase());
  assert.ok(!tables.includes("sluice_ledger"), "nobody can have rows put into the ledger");
});

Deno.test("any topic and any payload is observed, proposed and shown without an error", () => {
  const level = fc.oneof(
    fc.constantFrom("Home", "a", "b", "", "tele", "SENSOR", "{x}", "$SYS", "config", "homeassistant"),
    fc.string({ unit: "binary", maxLength: 8 }).map((it) => it.replace(/[/+#\0]/g, "_")),
  );
  const topic = fc.array(level, { minLength: 1, maxLength: 5 }).map((it) => it.join("/")).filter((it) =>
    it !== ""
  );
  const payload = fc.oneof(
    fc.json({ maxDepth: 4 }).map(encode),
    fc.uint8Array({ maxLength: 40 }),
    fc.string({ unit: "binary" }).map(encode),
    fc.oneof(fc.double(), fc.bigInt(), fc.boolean()).map((it) => encode(String(it))),
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(topic, payload), { minLength: 1, maxLength: 12 }), (messages) => {
      const observation = new Observation();
      const announced = messages.flatMap(([topic, payload]) => readDiscovery(message(topic, payload)));
      for (const [topic, payload] of messages) observation.add(message(topic, payload));
      assertUsable(propose(observation, { announced }));
    }),
    { numRuns: 500, examples: [[[["\x7f/\x9b2J", encode("[]")]]]] },
  );
});

Deno.test("a flood of topics, fields and samples is counted, and kept within bounds", () => {
  const observation = new Observation();
  const object = (n: number) =>
    encode(
      `{${
        Array.from({ length: 150 }, (_, i) => `"${"k".repeat(60)}${n}_${i}":"${"v".repeat(50)}"`).join(",")
      }}`,
    );
  const before = Deno.memoryUsage().heapUsed;
  for (let i = 0; i < 6_000; i++) observation.add(message(`Home/${i}/${"t".repeat(100)}`, object(i)));
  const grown = (Deno.memoryUsage().heapUsed - before) / 2 ** 20;
  assert.equal(observation.messages, 6_000);
  assert.ok(observation.ignored > 0 || observation.topics.size === 5_000);
  let bytes = 0;
  for (const { topic, fields, sample } of observation.topics.values()) {
    bytes += 2 * topic.length + (sample?.payload.length ?? 0);
    for (const key of fields.keys()) bytes += 2 * key.length + 100;
  }
  assert.ok(bytes < 40 * 2 ** 20, `${bytes} bytes`);
  assert.ok(grown < 250, `${grown} MiB of heap`);
});
