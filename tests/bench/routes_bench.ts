/**
 * What a message costs from topic to row, at 10 and at 10,000 routes: `deno run -A tests/bench/routes_bench.ts`.
 *
 * Both routers take turns. The messages come from the same 10 devices; from all devices that have a route, so that at
 * 10,000 routes 10,000 topics are in use; and, as the worst case, each with a topic that was never seen before. Prints
 * the time to build the larger router, medians and their ratios.
 */
import { createRouter } from "../../src/route/mod.ts";
import type { Router } from "../../src/contracts.ts";

const FEW = 10, MANY = 10_000;
const TURNS = 31, MESSAGES = 10_000;
const payload = new TextEncoder().encode('{"temperature":21.5,"humidity":48,"battery":97}');

function routerWith(count: number): Router {
  const routes = Array.from({ length: count }, (_, i) => ({
    topic: i % 2 === 0 ? `site/device${i}/{part}` : `site/device${i}/climate`,
    table: "climate",
    decode: "json" as const,
    columns: {
      ts: "@received",
      temperature: { value: "$.temperature", type: "double" },
      humidity: { value: "$.humidity", type: "double" },
    },
  }));
  return createRouter({ routes, gateway: "bench" });
}

/** Nanoseconds for each message. */
function run(router: Router, routes: number, topicOf: TopicOf): number {
  const began = performance.now();
  for (let i = 0; i < MESSAGES; i++) {
    const topic = topicOf(i, routes);
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

type TopicOf = (i: number, routes: number) => string;
const began = performance.now();
const routers = [FEW, MANY].map((count) => ({ count, router: routerWith(count) }));
console.log(`built in ${(performance.now() - began).toFixed(0)} ms`);
let unseen = 0;
const kinds: [string, TopicOf][] = [
  ["the same 10 topics", (i) => `site/device${i % FEW}/climate`],
  ["a topic for each route", (i, routes) => `site/device${i * 7 % routes}/climate`],
  ["new topics", (i) => `site/device${(i % FEW) & ~1}/part${unseen++}`],
];
for (const [kind, topicOf] of kinds) {
  const times: number[][] = [[], []];
  for (let turn = 0; turn < TURNS; turn++) {
    routers.forEach(({ router, count }, i) => times[i].push(run(router, count, topicOf)));
  }
  const [few, many] = times.map(median);
  console.log(
    `${kind}: ${few.toFixed(0)} ns at ${FEW} routes, ${many.toFixed(0)} ns at ${MANY} routes: ${
      (many / few).toFixed(2)
    } times (limit 1.3)`,
  );
}
