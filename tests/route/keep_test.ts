import assert from "node:assert/strict";
import fc from "fast-check";
import type { Router } from "../../src/contracts.ts";
import { createRouter } from "../../src/route/mod.ts";
import type { KeepOptions, RouteOptions } from "../../src/route/options.ts";
import { delivery, problemsOf, send } from "./routed.ts";

const route = (keep: KeepOptions, more: Partial<RouteOptions> = {}): RouteOptions => ({
  topic: "a/{device}",
  table: "t",
  decode: "json",
  columns: { device: "{device}", v: "$.v", w: "$.w" },
  keep,
  ...more,
});

const routerOf = (options: RouteOptions, memory?: ReadonlyMap<string, string>) =>
  createRouter({ routes: [options], gateway: "g", memory });

/** The values of `v` that are stored, of messages with a time and a value each. */
function kept(options: RouteOptions, messages: readonly (readonly [ms: number, v: unknown])[]): unknown[] {
  const router = routerOf(options);
  return messages.flatMap(([receivedAtMs, v]) => {
    const { objects, filtered } = send(router, "a/b", { v }, { receivedAtMs });
    assert.equal(objects.length + filtered, 1, "each message is stored or counted as filtered");
    return objects.map((it) => it.v);
  });
}

/** Applies what a router wants to be remembered, as the spool does. */
function remember(memory: Map<string, string>, changes: readonly (readonly [string, string | null])[]): void {
  for (const [key, value] of changes) value === null ? memory.delete(key) : memory.set(key, value);
}

Deno.test("onChange stores a value that differs from the last one stored", () => {
  fc.assert(fc.property(fc.array(fc.constantFrom(1, 2, "on", "off", true, null, { a: 1 })), (values) => {
    const expected = values.filter((it, i) =>
      i === 0 || JSON.stringify(it) !== JSON.stringify(values[i - 1])
    );
    const stored = kept(route({ onChange: ["v"] }), values.map((v, i) => [i, v]));
    assert.deepEqual(stored, expected.map((it) => typeof it === "object" && it ? JSON.stringify(it) : it));
  }));
});

Deno.test("a deadband is measured from the last value that was stored, so that a slow drift is seen", () => {
  const number = fc.integer({ min: -500, max: 500 }).map((it) => it / 10);
  fc.assert(fc.property(fc.array(number), (values) => {
    const stored = kept(route({ deadband: { v: 0.5 } }), values.map((v, i) => [i, v])) as number[];
    let last: number | undefined;
    const expected = values.filter((it) => {
      if (last !== undefined && Math.round(Math.abs(it - last) * 10) < 5) return false;
      last = it;
      return true;
    });
    assert.deepEqual(stored, expected);
  }));
});

Deno.test("a deadband lets through what is no number any more, and texts of long decimals are numbers", () => {
  const keep = { deadband: { v: 0.1 } };
  assert.deepEqual(
    kept(route(keep), [[0, 0.2], [1, 0.3]]),
    [0.2, 0.3],
    "0.3 - 0.2 is less than 0.1 to a computer",
  );
  assert.deepEqual(kept(route(keep), [[0, 1], [1, 1.05], [2, null], [3, null], [4, "x"], [5, 1]]), [
    1,
    null,
    "x",
    1,
  ]);
  assert.deepEqual(kept(route(keep), [[0, "0.30000000000000000001"], [1, "0.35"], [2, "0.4"]]).length, 2);
});

Deno.test("minInterval stores at most one in its time, maxInterval one at least when messages come", () => {
  const second = (s: number, v: number) => [s * 1_000, v] as const;
  assert.deepEqual(
    kept(route({ minIntervalMs: 10_000 }), [
      second(0, 1),
      second(9, 2),
      second(10, 3),
      second(19, 4),
      second(20, 5),
    ]),
    [1, 3, 5],
  );
  const keep = { onChange: ["v"], minIntervalMs: 10_000, maxIntervalMs: 60_000 };
  assert.deepEqual(
    kept(route(keep), [
      second(0, 1),
      second(5, 2),
      second(11, 2),
      second(30, 2),
      second(70, 2),
      second(131, 2),
    ]),
    [1, 2, 2],
  );
});

Deno.test("a wall clock that is set back holds nothing up", () => {
  assert.deepEqual(kept(route({ minIntervalMs: 10_000 }), [[1e12, 1], [5_000, 2], [6_000, 3]]), [1, 2]);
});

Deno.test("each topic, each element and each name is compared with its own", () => {
  const router = routerOf(route({ onChange: ["v"] }));
  const stored = ["a/x", "a/y", "a/x", "a/y"].map((topic) => send(router, topic, { v: 1 }).rows.length);
  assert.deepEqual(stored, [1, 1, 0, 0]);
  const each = routerOf(route({ onChange: ["v"] }, { each: "$", columns: { k: "@key", v: "$" } }));
  assert.deepEqual(send(each, "a/b", { x: 1, y: 1 }).objects, [{ k: "x", v: 1 }, { k: "y", v: 1 }]);
  assert.deepEqual(send(each, "a/b", { x: 1, y: 2 }).objects, [{ k: "y", v: 2 }]);
  assert.deepEqual(send(each, "a/b", { x: 1, y: 2 }).objects, []);
  const narrow = routerOf({ topic: "a/b", table: "t", layout: "narrow", keep: { onChange: ["value"] } });
  assert.deepEqual(send(narrow, "a/b", { x: 1, y: 1 }).objects.map((it) => it.name), ["x", "y"]);
  assert.deepEqual(send(narrow, "a/b", { x: 1, y: 2 }).objects.map((it) => it.name), ["y"]);
  assert.deepEqual(send(narrow, "a/b", { x: 1, y: 2 }).objects, []);
});

Deno.test("what the filters remember survives a restart at any message", () => {
  const messages = fc.array(
    fc.tuple(fc.constantFrom("a/x", "a/y"), fc.integer({ min: 0, max: 2 }), fc.boolean()),
  );
  fc.assert(fc.property(messages, (list) => {
    const options = route({ onChange: ["v"] });
    const steady = routerOf(options);
    const memory = new Map<string, string>();
    let restarted = routerOf(options);
    for (const [topic, v, restart] of list) {
      if (restart) restarted = routerOf(options, memory);
      const expected = send(steady, topic, { v });
      const actual = send(restarted, topic, { v });
      assert.equal(actual.rows.length, expected.rows.length);
      remember(memory, actual.memory);
    }
  }));
});

Deno.test("a batch that the spool hands out again is stored again", () => {
  const router = routerOf(route({ onChange: ["v"] }));
  const [{ lane, route: id }] = router.address("a/b");
  const batch = [1, 1, 2, 2].map((v) => delivery(id, "a/b", { v }));
  const stored = () => router.decode(lane, batch).rows.map((it) => it.sequence - batch[0].sequence);
  assert.deepEqual(stored(), [0, 2]);
  assert.deepEqual(stored(), [0, 2]);
  const one = [delivery(id, "a/b", { v: 3 })];
  for (let i = 0; i < 2; i++) assert.equal(router.decode(lane, one).rows.length, 1);
});

Deno.test("a message that becomes a dead letter leaves nothing behind", () => {
  const columns = { k: "@key", v: { value: "$", type: "double" } };
  const router = routerOf(route({ onChange: ["v"] }, { each: "$", columns }));
  assert.equal(send(router, "a/b", [1, "x"]).dead.length, 1);
  assert.equal(send(router, "a/b", [1]).rows.length, 1);
});

Deno.test("the memory is bounded, here and in the spool, however many topics and however long their values", () => {
  const memory = new Map<string, string>();
  const run = (router: Router, from: number, to: number) => {
    for (let i = from; i < to; i++) {
      remember(memory, send(router, `a/device${i}`, { v: "long".repeat(1_000) }).memory);
    }
  };
  run(routerOf(route({ onChange: ["v"] })), 0, 10_500);
  assert.equal(memory.size, 10_000);
  assert.ok([...memory.values()].every((it) => it.length < 300));
  const longTopic = send(routerOf(route({ onChange: ["v"] })), `a/${"x".repeat(5_000)}`, { v: 1 });
  assert.ok(longTopic.memory.every(([key]) => key.length < 300));
  // One that holds too much, of a time when more was kept, is cut down by the next batch.
  for (let i = 0; i < 100; i++) memory.set(`keep\nold\n${i}`, "[]");
  run(routerOf(route({ onChange: ["v"] }), memory), 10_500, 10_501);
  assert.equal(memory.size, 10_000);
});

Deno.test("what was not used for longest is forgotten first", () => {
  const router = routerOf(route({ onChange: ["v"] }));
  for (let i = 0; i < 10_000; i++) {
    send(router, `a/device${i}`, { v: 1 });
    assert.equal(send(router, "a/device0", { v: 1 }).rows.length, 0);
  }
  send(router, "a/one too many", { v: 1 });
  assert.equal(send(router, "a/device0", { v: 1 }).rows.length, 0);
  assert.equal(send(router, "a/device1", { v: 1 }).rows.length, 1);
});

Deno.test("a filter of a column that is none, and intervals that make no sense, are refused", () => {
  const text = { onChange: ["v", "x"], deadband: { y: 1 } };
  assert.deepEqual(problemsOf(route(text)), [
    'keep.onChange.1: "x" is no column of this route, which has device, v, w',
    'keep.deadband.y: "y" is no column of this route, which has device, v, w',
  ]);
  assert.match(
    problemsOf(route({ maxIntervalMs: 1 }))[0],
    /^keep\.maxInterval: "maxInterval" needs "onChange"/,
  );
  const written = { onChange: ["v"], minInterval: "1h", maxInterval: "10m" } as KeepOptions;
  assert.deepEqual(problemsOf(route(written)), [
    'keep.maxInterval: "maxInterval" is shorter than "minInterval"',
  ]);
});
