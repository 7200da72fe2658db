import assert from "node:assert/strict";
import fc from "fast-check";
import type { RouteOptions } from "../../src/route/options.ts";
import { decodeOne, problemsOf } from "./routed.ts";

const route = (expression: string): RouteOptions => ({
  topic: "a/{room}",
  table: "t",
  decode: "json",
  columns: { x: `= ${expression}` },
});

function valueOf(expression: string, payload: unknown) {
  const { objects, dead } = decodeOne(route(expression), "a/attic", payload);
  return dead.length > 0 ? dead[0].reason : objects[0].x;
}

const when = (condition: string, payload: unknown) => {
  const { rows, dead, filtered } = decodeOne(
    { topic: "a/{room}", table: "t", decode: "json", when: condition, columns: { x: "{room}" } },
    "a/attic",
    payload,
  );
  return dead.length > 0 ? dead[0].reason : rows.length > 0 && filtered === 0;
};

Deno.test("the expression of the manual gives what JavaScript gives", () => {
  fc.assert(
    fc.property(fc.double({ noNaN: true, min: -50, max: 50 }), fc.integer({ min: 0, max: 100 }), (t, h) => {
      // CEL's integers have no -0.
      const feels = t - 0.4 * (100 - h) / 5 + 0;
      const text = "temperature - 0.4 * (100.0 - humidity) / 5.0";
      const positive = (value: unknown) => value as number + 0;
      assert.equal(positive(valueOf(text, { temperature: t, humidity: h })), feels);
      assert.equal(positive(valueOf(text.replaceAll(".0", ""), { temperature: t, humidity: h })), feels);
    }),
  );
});

Deno.test("integers and doubles mix in every operator", () => {
  const operators: [string, (a: number, b: number) => number | boolean][] = [
    ["+", (a, b) => a + b],
    ["-", (a, b) => a - b],
    ["*", (a, b) => a * b],
    ["/", (a, b) => a / b],
    ["%", (a, b) => a % b],
    ["<", (a, b) => a < b],
    [">=", (a, b) => a >= b],
    ["==", (a, b) => a === b],
    ["!=", (a, b) => a !== b],
  ];
  const number = fc.oneof(fc.integer({ min: 1, max: 99 }), fc.double({ min: 0.5, max: 99, noNaN: true }));
  fc.assert(
    fc.property(fc.constantFrom(...operators), number, fc.integer({ min: 1, max: 99 }), ([op, of], n, i) => {
      assert.equal(valueOf(`n ${op} ${i}`, { n }), of(n, i));
      assert.equal(valueOf(`${i} ${op} n`, { n }), of(i, n));
      assert.equal(valueOf(`n ${op} ${i}.0`, { n }), of(n, i));
    }),
  );
});

Deno.test("numbers as people write them", () => {
  const payload = { c: 20, on: true, list: [1, 2, 3], n: 1, s: "x" };
  assert.equal(valueOf("9 / 5 * c + 32", payload), 68);
  assert.equal(valueOf("(c + 1) / 2", payload), 10.5);
  assert.equal(valueOf("-(1) / 2", payload), -0.5);
  assert.equal(valueOf("on ? 1 : 0.5", payload), 1);
  assert.equal(valueOf("on ? 1 : 0", payload), 1);
  assert.equal(valueOf("payload.list[1] + size(payload.list)", payload), 5);
  assert.equal(valueOf("payload.list[n]", payload), 2);
  assert.equal(valueOf("c in [10, 20]", payload), true);
  assert.equal(valueOf("int(c) / 3", payload), 6, "a division of ints that is meant as one");
  assert.equal(valueOf('s + "-" + string(n)', payload), "x-1");
  assert.equal(valueOf("c", '{"c": 12345678901234567890}'), 12345678901234567890n);
  assert.equal(valueOf("c + 1", '{"c": 9007199254740993}'), 9007199254740994n);
  assert.equal(valueOf("c * 2.0", '{"c": 1.00000000000000000001}'), 2);
  assert.equal(valueOf("payload.a.c * 2", '{"a": {"c": 1.00000000000000000001}}'), 2);
  assert.equal(valueOf("c / 0", payload), "column x: Infinity is not a number that a database can hold");
});

Deno.test("what is missing is NULL, and so is what is computed from it", () => {
  const payload = { a: 1, n: null, o: {}, list: [] };
  const texts = [
    "b",
    "b + 1",
    "1 - b * a",
    "n + 1",
    "-b",
    "o.x",
    "o.x.y + 1",
    "payload.list[3]",
    "b.c.d",
    "b > 3",
  ];
  for (const text of [...texts, "size(b)", "double(b)", "!b", "b ? 1 : 2", "b && a > 0"]) {
    assert.equal(valueOf(text, payload), null, text);
  }
  assert.equal(valueOf("b == null", payload), true);
  assert.equal(valueOf("has(o.x)", payload), false);
  assert.equal(valueOf("b", 5), null);
});

Deno.test("a level of the topic goes before a key of the payload, payload is all of it", () => {
  const payload = { room: "cellar", payload: 1 };
  assert.equal(valueOf("room", payload), "attic");
  assert.equal(valueOf("payload.room", payload), "cellar");
  assert.equal(valueOf("payload.payload", payload), 1);
  assert.equal(valueOf("toString", payload), null);
  assert.equal(valueOf('payload["switch:0"].apower * 2', { "switch:0": { apower: 4.5 } }), 9);
});

Deno.test("a value of the wrong kind is a dead letter, or what onError says", () => {
  assert.match(
    String(valueOf("t > 3", { t: "unavailable" })),
    /^column x: no such overload: .*string.* > int/,
  );
  const { objects } = decodeOne(
    { ...route("t"), columns: { x: { value: "= t * 2", type: "double", onError: "null" } } },
    "a/attic",
    { t: "unavailable" },
  );
  assert.deepEqual(objects, [{ x: null }]);
});

Deno.test("when stores what it is true for; NULL is not true, and what is neither is a dead letter", () => {
  assert.equal(when("temperature > -40.0", { temperature: -39 }), true);
  assert.equal(when("temperature > -40", { temperature: -40 }), false);
  assert.equal(when("temperature > -40.0", {}), false);
  assert.equal(when("temperature != null", {}), false);
  assert.equal(when('room == "attic" && state == "ON"', { state: "ON" }), true);
  assert.match(String(when("flag", { flag: "yes" })), /^when: "yes" is neither true nor false/);
  assert.match(String(when("t > 3", { t: "x" })), /^when: no such overload/);
});

Deno.test("when looks at each element under each", () => {
  const { objects } = decodeOne(
    { topic: "a", table: "t", each: "$", when: "value.t != null && key != 'b'", columns: { k: "@key" } },
    "a",
    { Time: "now", a: { t: 1 }, b: { t: 2 }, c: { t: 3 } },
  );
  assert.deepEqual(objects, [{ k: "a" }, { k: "c" }]);
});

Deno.test("a wrong expression is refused with the place in it", () => {
  const problems: [string, RegExp][] = [
    ["1 +", /^columns\.x: the expression "1 \+" is wrong at character 4: Unexpected token: EOF$/],
    ["temprature(1)", /no matching overload for 'temprature\(int\)'/],
    ["'a' * 2", /no such overload: string \* int/],
    ["type == 'x'", /"type" is the name of a type: write payload\.type/],
    ["", /is wrong/],
  ];
  for (const [text, message] of problems) assert.match(problemsOf(route(text))[0], message);
  const condition = (when: string) => problemsOf({ topic: "a", table: "t", when })[0];
  assert.match(
    condition("temperature + 1.0"),
    /^when: the expression ".*" must be true or false, it gives .* double/,
  );
  assert.match(condition("(a"), /^when: the expression "\(a" is wrong at character 3/);
});
