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
