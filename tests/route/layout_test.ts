import assert from "node:assert/strict";
import fc from "fast-check";
import { createRouter, shapesOf } from "../../src/route/mod.ts";
import type { RouteOptions } from "../../src/route/options.ts";
import { decodeOne, delivery, problemsOf, send } from "./routed.ts";

const base: RouteOptions = { topic: "a/{room}", table: "t", decode: "json" };

Deno.test("narrow makes a row for each value that is there", () => {
  const route: RouteOptions = {
    ...base,
    layout: "narrow",
    columns: {
      room: "{room}",
      at: { value: "$.time", time: "epoch_s" },
      temperature: { value: "$.t", type: "double" },
      double_humidity: { value: "= h * 2", type: "double" },
      any: { value: "$.params.*", type: "double", onError: "null" },
    },
  };
  const payload = { time: 0, t: 21.5, params: { "x:0": 1, "x:1": "?", "x:2": null, "x:3": true } };
  const shared = { room: "b", at: "1970-01-01 00:00:00.000" };
  assert.deepEqual(decodeOne(route, "a/b", payload).objects, [
    { ...shared, name: "temperature", value: 21.5 },
    { ...shared, name: "x:0", value: 1 },
    { ...shared, name: "x:3", value: 1 },
  ]);
  assert.deepEqual(decodeOne(route, "a/b", {}).filtered, 1);
  assert.deepEqual(shapesOf([route])[0].columns.map((it) => [it.name, it.type]), [
    ["room", undefined],
    ["at", "datetime(3)"],
    ["name", "varchar(255)"],
    ["value", "double"],
  ]);
});

Deno.test("narrow without columns takes every value of the payload, under its keys", () => {
  const route: RouteOptions = { ...base, layout: "narrow" };
  const rows = (payload: unknown) =>
    decodeOne(route, "a/b", payload).objects.map((it) => [it.name, it.value]);
  assert.deepEqual(rows({ a: { b: 1.5, c: ["x", true] }, n: null }), [["a.b", "1.5"], ["a.c.0", "x"], [
    "a.c.1",
    "true",
  ]]);
  assert.deepEqual(rows(21), [["value", "21"]]);
  const flat = fc.dictionary(fc.string({ minLength: 1 }), fc.oneof(fc.integer(), fc.string(), fc.boolean()));
  fc.assert(fc.property(flat, (payload) => {
    assert.deepEqual(rows(payload), Object.entries(payload).map(([key, value]) => [key, String(value)]));
  }));
});

Deno.test("json keeps the payload, or the element, as JSON", () => {
  const route: RouteOptions = { ...base, layout: "json" };
  const { objects } = decodeOne(route, "a/b", '{"n": 12345678901234567890, "s": "ä"}');
  assert.deepEqual(Object.keys(objects[0]), ["received_at", "topic", "payload"]);
  assert.equal(objects[0].payload, '{"n":12345678901234567890,"s":"ä"}');
  const each = decodeOne({ ...route, each: "$", columns: { room: "{room}" } }, "a/b", [1, { x: 2 }]);
  assert.deepEqual(each.objects, [{ room: "b", payload: "1" }, { room: "b", payload: '{"x":2}' }]);
});

Deno.test("latest has one row for each topic, and for each key of its elements", () => {
  const shape = (more: Partial<RouteOptions>) => {
    const [{ key, onDuplicateKey, columns }] = shapesOf([{ ...base, layout: "latest", ...more }]);
    assert.equal(onDuplicateKey, "update");
    return { key, columns: columns.map((it) => it.name) };
  };
  assert.deepEqual(shape({ columns: { v: "$.v" } }), { key: ["topic"], columns: ["v", "topic"] });
  assert.deepEqual(shape({ columns: { which: "@topic", v: "$.v" } }), {
    key: ["which"],
    columns: ["which", "v"],
  });
  assert.deepEqual(shape({ each: "$", columns: { v: "$" } }), {
    key: ["topic", "key"],
    columns: ["v", "topic", "key"],
  });
});

Deno.test("a layout that cannot be is refused", () => {
  const problems = (more: Partial<RouteOptions>) => problemsOf({ ...base, ...more })[0];
  assert.match(
    problems({ layout: "narrow", columns: { a: "@topic" } }),
    /^layout: .* needs a column with a value/,
  );
  assert.match(
    problems({ layout: "narrow", columns: { name: "@topic", v: "$" } }),
    /column "name" of its own/,
  );
  assert.match(
    problems({ layout: "narrow", columns: { a: { value: "$.a", type: "int" }, b: "$.b" } }),
    /give them one type, not int, none/,
  );
  assert.match(problems({ layout: "latest", columns: { topic: "$.topic" } }), /needs a column with @topic/);
  assert.match(problems({ layout: "latest", onDuplicateKey: "ignore" }), /can only be "update"/);
});

Deno.test("topics make as many tables as the limit says; a message for one more is a dead letter", () => {
  const routes: RouteOptions[] = [{ ...base, table: "t_{room}" }];
  const router = createRouter({ routes, gateway: "g", tablesMax: 2 });
  const memory = new Map<string, string>();
  const sent = ["x", "y", "z", "x", "y"].map((room) => {
    const { rows, dead, lane, memory: changes } = send(router, `a/${room}`, 1);
    for (const [key, value] of changes) memory.set(key, value!);
    return [lane, rows.length, dead.length];
  });
  assert.deepEqual(sent, [["t_x", 1, 0], ["t_y", 1, 0], ["t_{room}", 0, 1], ["t_x", 1, 0], ["t_y", 1, 0]]);
  assert.match(
    send(router, "a/z", 1).dead[0].reason,
    /t_z would be one too many: "t_\{room\}" has 2 already/,
  );

  // The limit holds over restarts, and what was given a lane before is stored there.
  const restarted = createRouter({ routes, gateway: "g", tablesMax: 2, memory });
  assert.equal(restarted.address("a/z")[0].lane, "t_{room}");
  assert.equal(restarted.address("a/x")[0].lane, "t_x");
  const [{ route }] = restarted.address("a/w");
  assert.equal(restarted.decode("t_w", [delivery(route, "a/w", 1)]).rows[0].shape.table, "t_w");
});
