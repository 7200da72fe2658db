import assert from "node:assert/strict";
import fc from "fast-check";
import { compilePath, compileWildcard } from "../../src/route/path.ts";

const key = fc.oneof(
  fc.string(),
  fc.constantFrom(
    "a",
    "switch:0",
    "a.b",
    'say "hi"',
    "it's",
    "__proto__",
    "constructor",
    "0",
    "*",
    "ä",
    "\\",
  ),
);
const keys = fc.array(fc.oneof(key, fc.nat(5)), { maxLength: 5 });

/** A payload in which `path` leads to `leaf`. */
function nest(path: readonly (string | number)[], leaf: unknown): unknown {
  return path.reduceRight((inner: unknown, step) => {
    if (typeof step === "number") return [...Array(step).fill("other"), inner];
    return Object.defineProperty({}, step, { value: inner, enumerable: true });
  }, leaf);
}

const written = (step: string | number) =>
  typeof step === "number" ? `[${step}]` : `[${JSON.stringify(step)}]`;

Deno.test("a path with quoted keys and indexes finds what lies there", () => {
  fc.assert(fc.property(keys, fc.integer(), (path, leaf) => {
    assert.equal(compilePath("$" + path.map(written).join(""))(nest(path, leaf)), leaf);
  }));
});

Deno.test("a path into anything is a value or undefined, never an error", () => {
  fc.assert(fc.property(keys, fc.anything(), (path, payload) => {
    compilePath("$" + path.map(written).join(""))(payload);
  }));
});

/** What a path means, as plainly as it can be said: the values that it leads to, in order. */
function walk(value: unknown, path: readonly (string | number | symbol)[]): unknown[] {
  if (path.length === 0) return value === undefined ? [] : [value];
  const [step, ...rest] = path;
  const isObject = value !== null && typeof value === "object";
  if (typeof step !== "symbol") {
    const fits = isObject && Object.hasOwn(value, step) &&
      Array.isArray(value) === (typeof step === "number");
    return fits ? walk((value as Record<string | number, unknown>)[step], rest) : [];
  }
  const inner = isObject ? Object.values(value) : [];
  if (step === ALL) return inner.flatMap((it) => walk(it, rest));
  return (isObject ? inner.flatMap((it) => walk(it, [LEAVES])) : [value]).flatMap((it) => walk(it, rest));
}

const ALL = Symbol("*"), LEAVES = Symbol("**");

Deno.test("a path with wildcards finds what a plain walk finds, in its order", () => {
  const names = fc.constantFrom("a", "b", "switch:0", "__proto__");
  const payload = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 4, withCrossShrink: true },
      fc.oneof(fc.integer(), fc.constant(null), fc.string({ maxLength: 2 }), fc.boolean()),
      fc.array(tie("value"), { maxLength: 3 }),
      fc.array(fc.tuple(names, tie("value")), { maxLength: 3 }).map((entries) => {
        const made = {};
        for (const [key, value] of entries) {
          Object.defineProperty(made, key, { value, enumerable: true, configurable: true });
        }
        return made;
      }),
    ),
  })).value;
  const step = fc.oneof(names, fc.nat(2), fc.constantFrom(ALL, ALL, LEAVES));
  const text = (it: string | number | symbol) =>
    it === ALL ? ".*" : it === LEAVES ? ".**" : written(it as string);
  fc.assert(
    fc.property(payload, fc.array(step, { minLength: 1, maxLength: 4 }), (payload, path) => {
      fc.pre(path.some((it) => typeof it === "symbol"));
      const found = compileWildcard(`$${path.map(text).join("")}`)!(payload);
      assert.deepEqual(found.map((it) => it.value), walk(payload, path));
    }),
    { numRuns: 5_000 },
  );
});

Deno.test("paths as people write them", () => {
  const payload = {
    a: { b: 1 },
    "switch:0": { apower: 8.9 },
    list: [{ x: 1 }, { x: 2 }],
    "long-name": 3,
    "": 4,
    küche2: 6,
  };
  const expected: [string, unknown][] = [
    ["$", payload],
    ["$.a.b", 1],
    ['$["switch:0"].apower', 8.9],
    ["$['switch:0']['apower']", 8.9],
    ["$.list[1].x", 2],
    ["$.list[2].x", undefined],
    ["$.long-name", 3],
    ["$.küche2", 6],
    ['$[""]', 4],
    ["$.a.b.c", undefined],
    ["$.toString", undefined],
    ["$.list.length", undefined],
  ];
  for (const [path, value] of expected) assert.deepEqual(compilePath(path)(payload), value, path);
  assert.equal(compilePath("$['it\\'s']")({ "it's": 5 }), 5);
});

Deno.test("a wildcard finds all elements of an array, all values of an object, with the keys that it stands for", () => {
  const payload = {
    params: { "switch:0": { apower: 1 }, "switch:1": { apower: 2 }, ts: 3 },
    list: [[4], [5, 6]],
  };
  assert.deepEqual(compilePath("$.params.*.apower")(payload), [1, 2]);
  assert.deepEqual(compilePath("$.list[*][*]")(payload), [4, 5, 6]);
  assert.deepEqual(compilePath("$.missing.*")(payload), undefined);
  assert.deepEqual(compilePath("$.params.ts.*")(payload), undefined);
  assert.deepEqual(compileWildcard("$.params.*.apower")!(payload), [
    { key: "switch:0", value: 1 },
    { key: "switch:1", value: 2 },
  ]);
  assert.deepEqual(compileWildcard("$.list[*][1]")!(payload), [{ key: 1, value: 6 }]);
  assert.deepEqual(compileWildcard("$.list[*][*]")!(payload).map((it) => it.key), ["0.0", "1.0", "1.1"]);
  assert.equal(compileWildcard("$.list[0]"), undefined);
  assert.deepEqual(compilePath('$["*"]')({ "*": 1 }), 1);
});

Deno.test("a path that cannot be read is refused from where it goes wrong", () => {
  for (
    const text of [
      "a",
      "$a",
      "$.",
      "$..a",
      "$.a[",
      "$.a[-1]",
      "$.a[x]",
      '$["a]',
      "$.a b",
      "$.list[0",
      "$.'a'",
    ]
  ) {
    assert.throws(() => compilePath(text), /must begin with \$|cannot be read from/, text);
  }
});
