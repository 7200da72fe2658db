import assert from "node:assert/strict";
import fc from "fast-check";
import { disjointFilters } from "../../src/route/filters.ts";
import { filters, matchesFilter, topics } from "./topics.ts";

Deno.test("the filters to subscribe to cover what is wanted, and no topic is matched by two", () => {
  fc.assert(
    fc.property(
      fc.array(filters, { maxLength: 6 }),
      fc.array(topics, { minLength: 20 }),
      (wanted, samples) => {
        const disjoint = disjointFilters(wanted);
        for (const topic of samples) {
          const by = disjoint.filter((it) => matchesFilter(it, topic));
          assert.ok(by.length <= 1, `${topic} is matched by ${by.join(" and ")}`);
          if (wanted.some((it) => matchesFilter(it, topic))) {
            assert.equal(
              by.length,
              1,
              `${topic} is not covered`,
            );
          }
        }
      },
    ),
    { numRuns: 1_000 },
  );
});

Deno.test("for every short topic there is exactly one filter, where one is wanted", () => {
  const levels = ["a", "b", "c", "", "$SYS"];
  const all = [1, 2, 3, 4].reduce<string[][]>(
    (found, length) => [
      ...found,
      ...(length === 1 ? [[]] : found.filter((it) => it.length === length - 1)).flatMap((it) =>
        levels.map((level) => [...it, level])
      ),
    ],
    [],
  ).map((it) => it.join("/")).filter((it) => it !== "");
  assert.equal(all.length, 5 + 25 + 125 + 625 - 1);
  fc.assert(
    fc.property(fc.array(filters, { minLength: 1, maxLength: 5 }), (wanted) => {
      const disjoint = disjointFilters(wanted);
      for (const topic of all) {
        const n = disjoint.filter((it) => matchesFilter(it, topic)).length;
        const isWanted = wanted.some((it) => matchesFilter(it, topic));
        assert.ok(n === 1 || n === 0 && !isWanted, `${topic}: ${n} of ${disjoint.join(", ")}`);
      }
    }),
    { numRuns: 300 },
  );
});

Deno.test("filters that do not overlap stay as they are", () => {
  const wanted = ["a/+", "b/#", "c", "+/x/y/z", "$SYS/#"];
  assert.deepEqual(
    new Set(disjointFilters(["a/+", "b/#", "c", "$SYS/#"])),
    new Set(["a/+", "b/#", "c", "$SYS/#"]),
  );
  assert.ok(disjointFilters(wanted).includes("$SYS/#"));
});

Deno.test("a filter that another one covers is left out, two that cross are joined", () => {
  assert.deepEqual(disjointFilters(["home/#", "home/+/climate", "home/attic"]), ["home/#"]);
  assert.deepEqual(disjointFilters(["a/+", "+/b"]), ["+/+"]);
});

Deno.test("each group of shared subscriptions has filters of its own", () => {
  assert.deepEqual(
    new Set(
      disjointFilters(["$share/g/a/+", "$share/g/+/b", "$share/g/$SYS/x", "$share/h/a/b", "c/#", "c/d"]),
    ),
    new Set(["$share/g/+/+", "$share/g/$SYS/x", "$share/h/a/b", "c/#"]),
  );
});
