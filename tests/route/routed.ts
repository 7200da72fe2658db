/**
 * A message on its way through a route, for tests that look at the rows.
 */
import assert from "node:assert/strict";
import type { Decoded, Router } from "../../src/contracts.ts";
import type { Delivery, SqlValue } from "../../src/message.ts";
import { createRouter, validateRoute } from "../../src/route/mod.ts";
import type { RouteOptions } from "../../src/route/options.ts";

let sequence = 0;

export function delivery(route: string, topic: string, payload: unknown, more?: Partial<Delivery>): Delivery {
  const text = typeof payload === "string" ? payload : JSON.stringify(payload);
  return {
    sequence: ++sequence,
    route,
    topic,
    payload: new TextEncoder().encode(text),
    qos: 1,
    retain: false,
    receivedAtMs: Date.UTC(2024, 1, 29, 23, 59, 59, 7),
    ...more,
  };
}

export interface Routed extends Decoded {
  readonly lane: string;
  /** Column to value. */
  readonly objects: readonly Record<string, SqlValue>[];
}

/** What a message becomes under the first route that matches it. */
export function send(router: Router, topic: string, payload: unknown, more?: Partial<Delivery>): Routed {
  const [address] = router.address(topic);
  assert.ok(address, `no route matches ${topic}`);
  const decoded = router.decode(address.lane, [delivery(address.route, topic, payload, more)]);
  const objects = decoded.rows.map(({ shape, values }) =>
    Object.fromEntries(shape.columns.map(({ name }, i) => [name, values[i]]))
  );
  return { ...decoded, lane: address.lane, objects };
}

/** The same under one route, which must be a good one. */
export function decodeOne(route: RouteOptions, topic: string, payload: unknown, more?: Partial<Delivery>) {
  assert.deepEqual(validateRoute(route), []);
  return send(createRouter({ routes: [route], gateway: "attic" }), topic, payload, more);
}

/** All that is wrong with a route, as texts. */
export const problemsOf = (route: RouteOptions): string[] =>
  validateRoute(route).map((it) => `${it.path.join(".")}: ${it.message}`);
