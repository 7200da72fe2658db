/**
 * What a message costs from topic to row, at 10 and at 10,000 routes: `deno run -A tests/bench/routes_bench.ts`.
 *
 * Both routers take turns at the same messages: ten routes that each match a thousand devices, and a route for each
 * device. The messages come from ten devices, from all, or each with a topic that was never seen before. Prints medians
 * and their ratio. Between the first two lines the cost grows with the topics in use, which no longer lie in the
 * processor's cache; that is the same however many routes there are.
 */
import type { Router } from "../../src/contracts.ts";
import { createRouter } from "../../src/route/mod.ts";

const FEW = 10, MANY = 10_000;
const TURNS = 31, MESSAGES = 10_000;
const payload = new TextEncoder().encode('{"temperature":21.5,"humidity":48,"battery":97}');

const device = (i: number) => `site/hall${i % FEW}/device${i}`;

function routerWith(prefixes: readonly string[]): Router {
  const routes = prefixes.map((prefix) => ({
    topic: `${prefix}/{part}`,
    table: "climate",
    decode: "json" as const,
    columns: {
      ts: "@received",
      part: "{part}",
      temperature: { value: "$.temperature", type: "double" },
      humidity: { value: "$.humidity", type: "double" },
    },
  }));
  return createRouter({ routes, gateway: "bench" });
}

/** Nanoseconds for each message. */
function run(router: Router, topicOf: (i: number) => string): number {
  const began = performance.now();
  for (let i = 0; i < MESSAGES; i++) {
    const topic = topicOf(i);
    const [{ lane, route }] = router.address(topic);
    const delivery = {
      sequence: i + 1,
      route,
      topic,
      payload,
      qos: 1 as const,
      retain: false,
      receivedAtMs: i,
    };
    if (router.decode(lane, [delivery]).rows.length !== 1) throw new Error(`no row for ${topic}`);
  }
  return (performance.now() - began) * 1e6 / MESSAGES;
}

const median = (values: number[]) => values.sort((a, b) => a - b)[values.length >> 1];

const few = routerWith(Array.from({ length: FEW }, (_, i) => `site/hall${i}/+`));
const began = performance.now();
const many = routerWith(Array.from({ length: MANY }, (_, i) => device(i)));
console.log(`${MANY} routes are compiled in ${(performance.now() - began).toFixed(0)} ms`);

let unseen = 0;
const kinds: [string, (i: number) => string][] = [
  [`${FEW} topics`, (i) => `${device(i % FEW)}/climate`],
  [`${MANY} topics`, (i) => `${device(i * 7 % MANY)}/climate`],
  ["new topics", (i) => `${device(i)}/part${unseen++}`],
];
for (const [kind, topicOf] of kinds) {
  const times: [number[], number[]] = [[], []];
  for (let turn = 0; turn < TURNS; turn++) {
    times[0].push(run(few, topicOf));
    times[1].push(run(many, topicOf));
  }
  const [atFew, atMany] = times.map(median);
  console.log(
    `${kind}: ${atFew.toFixed(0)} ns at ${FEW} routes, ${atMany.toFixed(0)} ns at ${MANY} routes: ` +
      `${(atMany / atFew).toFixed(2)} times (limit 1.3)`,
  );
}
