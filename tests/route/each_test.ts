import assert from "node:assert/strict";
import fc from "fast-check";
import type { RouteOptions } from "../../src/route/options.ts";
import { decodeOne, problemsOf } from "./routed.ts";

const route = (each: string, more: Partial<RouteOptions> = {}): RouteOptions => ({
  topic: "a/{device}",
  table: "t",
  decode: "json",
  each,
  columns: { device: "{device}", key: "@key", t: "$.t" },
  ...more,
});

Deno.test("an array makes a row for each element, in order, all of one delivery", () => {
  fc.assert(fc.property(fc.array(fc.record({ t: fc.integer() })), (list) => {
    const { rows, objects, filtered } = decodeOne(route("$.list"), "a/b", { list });
    assert.deepEqual(objects, list.map(({ t }, i) => ({ device: "b", key: String(i), t })));
    assert.equal(filtered, list.length === 0 ? 1 : 0);
    assert.ok(new Set(rows.map((it) => it.sequence)).size <= 1);
  }));
});

Deno.test("an object makes a row for each key, whatever the keys are called", () => {
  fc.assert(fc.property(fc.uniqueArray(fc.string()), (names) => {
    const text = `{"s":{${names.map((name, i) => `${JSON.stringify(name)}:{"t":${i}}`).join(",")}}}`;
    const { objects } = decodeOne(route("$.s"), "a/b", text);
    assert.deepEqual(new Set(objects.map((it) => it.key)), new Set(names));
    for (const { key, t } of objects) assert.equal(names[t as number], key);
  }));
});

Deno.test("a path with wildcards makes a row for all that it leads to", () => {
  const payload = { params: { "switch:0": { t: 1 }, "switch:1": { t: 2 } }, src: "shelly" };
  const columns = { key: "@key", t: "$.t", src: "= src", whole: "= payload.src" };
  const expected = [
    { key: "switch:0", t: 1, src: "shelly", whole: "shelly" },
    { key: "switch:1", t: 2, src: "shelly", whole: "shelly" },
  ];
  assert.deepEqual(decodeOne(route("$.params.*", { columns }), "a/b", payload).objects, expected);
  assert.deepEqual(decodeOne(route("$.params", { columns }), "a/b", payload).objects, expected);
});

Deno.test("an element may be a value itself", () => {
  const columns = { key: { value: "@key", type: "int" }, t: "$", twice: "= value * 2", at: "= key" };
  assert.deepEqual(decodeOne(route("$", { columns }), "a/b", [5, 7.5]).objects, [
    { key: 0, t: 5, twice: 10, at: 0 },
    { key: 1, t: 7.5, twice: 15, at: 1 },
  ]);
});

Deno.test("a missing list is left out and counted, one that is no list is a dead letter", () => {
  for (const payload of [{}, { list: null }, { list: [] }, { list: {} }]) {
    const { rows, dead, filtered } = decodeOne(route("$.list"), "a/b", payload);
    assert.deepEqual([rows.length, dead.length, filtered], [0, 0, 1]);
  }
  const { dead } = decodeOne(route("$.list"), "a/b", { list: 5 });
  assert.deepEqual(dead.map((it) => it.reason), ["each: $.list is neither an array nor an object"]);
  assert.match(
    decodeOne(route("$"), "a/b", Array(10_001).fill(0)).dead[0].reason,
    /10001 elements, more than 10000/,
  );
});

Deno.test("the rows of a message stand or fall together", () => {
  const columns = { t: { value: "$.t", type: "double" } };
  const { rows, dead } = decodeOne(route("$", { columns }), "a/b", [{ t: 1 }, { t: "x" }]);
  assert.equal(rows.length, 0);
  assert.deepEqual(dead.map((it) => it.reason), ['column t: "x" is not a number']);
});

Deno.test("a wrong path of each, and @key without each, are refused", () => {
  assert.match(problemsOf(route("list"))[0], /^each: the path "list" must begin with \$/);
  assert.deepEqual(problemsOf({ topic: "a", table: "t", columns: { k: "@key" } }), [
    'columns.k: "@key" is the key of an element: it needs "each"',
  ]);
});
