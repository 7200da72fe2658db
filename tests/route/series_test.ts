/**
 * What the presets are made of, and what everyone may use: `**` in paths, `number()` and `text()`, `key`, `keep.by`.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { RouteOptions } from "../../src/route/options.ts";
import { createRouter, shapesOf } from "../../src/route/mod.ts";
import { createTableSql } from "../../src/mysql/ddl.ts";
import { decodeOne, problemsOf, send } from "./routed.ts";

const route: RouteOptions = {
  topic: "a/{device}",
  table: "t",
  each: "$.**",
  columns: { name: "@key", value: "= number(value)", text: "= text(value)" },
};
const rowsOf = (payload: unknown, more: Partial<RouteOptions> = {}) =>
  decodeOne({ ...route, ...more }, "a/b", payload).objects.map((
    { name, value, text },
  ) => [name, value, text]);

Deno.test("** leads to every value at any depth, also to NULL, which says that there is none", () => {
  assert.deepEqual(
    rowsOf({
      t: 1.5,
      on: true,
      update: { state: "idle", at: [1, { x: "2" }] },
      gone: null,
      none: {},
      list: [],
    }),
    [
      ["t", 1.5, null],
      ["on", 1, null],
      ["update.state", null, "idle"],
      ["update.at.0", 1, null],
      ["update.at.1.x", 2, "2"],
      ["gone", null, null],
    ],
  );
  assert.deepEqual(rowsOf({ "*": { "**": 1 } }, { each: "$.*.**" }), [["*.**", 1, null]]);
  assert.deepEqual(rowsOf({ params: { "switch:0": { t: 1 } }, src: "x" }, { each: "$.params.**" }), [
    ["switch:0.t", 1, null],
  ]);
  assert.deepEqual(rowsOf({ src: "x" }, { each: "$.params.**" }), []);
});

Deno.test("a payload that holds nothing is its own only value, also NULL", () => {
  assert.deepEqual(rowsOf("21.5"), [["", 21.5, null]]);
  assert.deepEqual(rowsOf("null"), [["", null, null]]);
  assert.deepEqual(rowsOf(""), [["", null, null]]);
});

Deno.test("** finds as many values as JSON has, whatever the keys are", () => {
  const { tree } = fc.letrec((tie) => ({
    tree: fc.oneof(
      { depthSize: "small" },
      fc.integer(),
      fc.dictionary(fc.string(), tie("tree")),
      fc.array(tie("tree")),
    ),
  }));
  const count = (value: unknown): number =>
    typeof value === "number" ? 1 : Object.values(value as object).reduce((sum, it) => sum + count(it), 0);
  fc.assert(fc.property(tree, (value) => assert.equal(rowsOf(JSON.stringify(value)).length, count(value))));
});

Deno.test("number() and text() lose nothing of a value between them", () => {
  const cases: [unknown, number | bigint | null, string | null][] = [
    ["21.5", 21.5, null],
    ["ON", 1, "ON"],
    ["Offline", 0, "Offline"],
    ["nan", null, "nan"],
    ["unavailable", null, "unavailable"],
    ["N/A", null, "N/A"],
    ['"0049"', 49, "0049"],
    ["[1, 2]", null, "[1,2]"],
    ["12345678901234567890", 12345678901234567890n, "12345678901234567890"],
  ];
  for (const [payload, value, text] of cases) {
    const columns = { name: "@topic", value: "= number(payload)", text: "= text(payload)" };
    assert.deepEqual(rowsOf(payload, { each: undefined, columns }), [["a/b", value, text]]);
  }
  const { dead } = decodeOne(route, "a/b", "", { payload: new Uint8Array([255, 216]) });
  assert.match(dead[0].reason, /column text: 2 bytes are neither a number nor a text/);
});

Deno.test("a key of columns makes a table in which a row can be overwritten", () => {
  const columns = { id: { value: "$.id", type: "varchar(40)" }, state: { value: "$.state", type: "text" } };
  const [shape] = shapesOf([{ ...route, each: undefined, columns, key: ["id"], onDuplicateKey: "update" }]);
  assert.deepEqual([shape.key, shape.onDuplicateKey], [["id"], "update"]);
  const sql = createTableSql(shape);
  assert.match(
    sql,
    /`id` VARCHAR\(40\) COLLATE utf8mb4_bin NOT NULL,\n {2}`state` TEXT NULL,\n {2}PRIMARY KEY \(`id`\)/,
  );
  assert.match(problemsOf({ ...route, key: ["idd"] })[0], /"idd" in "key" is no column of this route/);
  assert.match(problemsOf({ ...route, layout: "latest", key: ["name"] })[0], /has a key of its own/);
});

Deno.test("keep.by compares rows of one series, wherever in a list they stand", () => {
  const columns = { name: "$.n", value: "$.v" };
  const keep = { onChange: ["value"], by: ["name"] };
  const router = createRouter({ routes: [{ ...route, each: "$", columns, keep }], gateway: "attic" });
  const values = (...pairs: [string, number][]) =>
    send(router, "a/b", pairs.map(([n, v]) => ({ n, v }))).objects.map((it) => `${it.name}${it.value}`);
  assert.deepEqual(values(["x", 1], ["y", 1]), ["x1", "y1"]);
  assert.deepEqual(values(["y", 1], ["x", 2]), ["x2"]);
  assert.deepEqual(values(["x", 2], ["y", 3]), ["y3"]);
  assert.match(problemsOf({ ...route, keep: { ...keep, by: ["nme"] } })[0], /^keep.by.0: "nme" is no column/);
});
