import assert from "node:assert/strict";
import fc from "fast-check";
import { createRouter } from "../../src/route/mod.ts";
import { decodeOne, delivery, problemsOf } from "./routed.ts";
import { filters, matchesFilter, topics } from "./topics.ts";

Deno.test("a message goes to every route that matches it, and to no other", () => {
  fc.assert(
    fc.property(fc.uniqueArray(filters, { maxLength: 8 }), topics, (wanted, topic) => {
      const routes = wanted.map((filter, i) => ({ topic: filter, table: `t${i}` }));
      const router = createRouter({ routes, gateway: "g" });
      const expected = routes.filter((it) => matchesFilter(it.topic, topic)).map((it) => it.table);
      assert.deepEqual(router.address(topic).map((it) => it.lane).sort(), expected.sort());
      assert.equal(router.address(topic), router.address(topic), "the second answer comes from the cache");
    }),
    { numRuns: 2_000 },
  );
});

Deno.test("a row has what the columns say", () => {
  const { objects, lane } = decodeOne(
    {
      topic: "Home/{room}/climate",
      table: "climate_{room}",
      decode: "json",
      columns: {
        ts: "@received",
        topic: "@topic",
        qos: "@qos",
        kept: "@retain",
        gateway: "@gateway",
        room: "{room}",
        temperature: { value: "$.temperature", type: "double" },
        missing: "$.missing",
      },
    },
    "Home/attic/climate",
    { temperature: 21.5 },
  );
  assert.equal(lane, "climate_attic");
  assert.deepEqual(objects, [{
    ts: "2024-02-29 23:59:59.007",
    topic: "Home/attic/climate",
    qos: 1,
    kept: false,
    gateway: "attic",
    room: "attic",
    temperature: 21.5,
    missing: null,
  }]);
});

Deno.test("a topic never makes a table's name that needs quoting or is too long", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }).filter((it) => !/[/\0]/.test(it)), (level) => {
    const router = createRouter({ routes: [{ topic: "a/{b}", table: "t_{b}" }], gateway: "g" });
    const [{ lane }] = router.address(`a/${level}`);
    assert.match(lane, /^[\w$-]{1,64}$/);
  }));
});

Deno.test("a value that does not fit is a dead letter that names the column, or what onError says", () => {
  const to = (onError: "reject" | "null" | "truncate") =>
    decodeOne(
      {
        topic: "a",
        table: "t",
        columns: { note: { value: "$", type: "varchar(3)", onError } },
        decode: "text",
      },
      "a",
      "long",
    );
  assert.deepEqual(to("reject").dead.map((it) => it.reason), [
    "column note: the text has 4 characters, the column takes 3",
  ]);
  assert.deepEqual(to("null").objects, [{ note: null }]);
  assert.deepEqual(to("truncate").objects, [{ note: "lon" }]);
});

Deno.test("a delivery of a route that is gone is a dead letter, a retained one may be skipped", () => {
  const router = createRouter({ routes: [{ topic: "a", table: "t", retained: "skip" }], gateway: "g" });
  const [{ route }] = router.address("a");
  const { rows, dead, filtered } = router.decode("t", [
    delivery("b -> t", "b", 1),
    delivery(route, "a", 2, { retain: true }),
    delivery(route, "a", 3),
  ]);
  assert.match(dead[0].reason, /no longer in the configuration/);
  assert.equal(filtered, 1);
  assert.deepEqual(rows.map((it) => it.values[2] instanceof Uint8Array), [true]);
});

Deno.test("a route that cannot be is refused with the place in it", () => {
  assert.deepEqual(
    problemsOf({ topic: "a/{b}", table: "t_{c}", columns: { x: "{d}", y: "@nothing", z: "z" } }),
    [
      "table: {c} in the table's name is not in the topic",
      "columns.x: {d} is not in the topic, which has {b}",
      'columns.y: "@nothing" is none of @received, @topic, @payload, @qos, @retain, @gateway, @sequence',
      'columns.z: "z" is no value: expected @name, {level}, a path like $.temperature, or an expression like = a + b',
    ],
  );
  assert.deepEqual(problemsOf({}), [': a route needs "topic"', ': a route needs "table"']);
  assert.deepEqual(problemsOf({ topic: "a", table: "a.b" }), [
    "table: the table's name must not contain . / \\ or NUL",
  ]);
});
