/**
 * The order in which a table is looked after, against a hand-written store: hours in order, nothing removed before it is
 * summed up, and every interruption made good by the next turn.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { type HourSpan, joinHours, MS_PER_HOUR } from "../src/hourly.ts";
import type { TableDesign } from "../src/message.ts";
import { type KeptStore, lookAfter } from "../src/upkeep.ts";

const NOW = 100;

/** A table of hours with rows, and a summary of hours that were computed. */
class FakeStore implements KeptStore {
  readonly summed: number[] = [];
  readonly removed: number[] = [];
  constructor(readonly rows: number[], readonly summary: number[] = []) {}

  readonly hourly = {
    lastSummed: (before: number) => {
      const known = this.summary.filter((it) => it < before);
      return Promise.resolve(known.length > 0 ? Math.max(...known) : undefined);
    },
    firstWithRows: (from: number, to: number) => {
      const found = this.rows.filter((it) => it >= from && it < to);
      return Promise.resolve(found.length > 0 ? Math.min(...found) : undefined);
    },
    sumUp: (hour: number) => {
      this.summed.push(hour);
      this.summary.push(hour);
      return Promise.resolve();
    },
  };

  removeBefore(cutoffMs: number): Promise<boolean> {
    this.removed.push(cutoffMs / MS_PER_HOUR);
    return Promise.resolve(false);
  }
}

const design: TableDesign = {
  ...{ columns: [], key: [], series: [], time: "ts", hourly: true, isOneOfMany: false },
  retentionMs: 10 * MS_PER_HOUR,
};

/** One turn of so many steps. */
function turn(store: KeptStore, hours: readonly HourSpan[], steps = Infinity) {
  let left = steps;
  return lookAfter(store, { table: "t", design, nowMs: (NOW + 0.5) * MS_PER_HOUR, hours }, {
    isOver: () => left <= 0,
    pause: () => (left--, Promise.resolve()),
  });
}

Deno.test("all hours that have rows are summed up in order, up to the one that is not over", async () => {
  const store = new FakeStore([3, 50, 51, 99, 100, 200]);
  assert.deepEqual(await turn(store, []), { more: false, hours: [] });
  assert.deepEqual(store.summed, [3, 50, 51, 99]);
  assert.deepEqual(store.removed, [90.5]);
});

Deno.test("after that only the last one and those that got rows", async () => {
  const store = new FakeStore([3, 50, 51, 99], [3, 50, 51, 98]);
  const given = [{ from: 50, to: 51 }, { from: 100, to: 101 }, { from: 2, to: 4 }];
  assert.deepEqual(await turn(store, given), { more: false, hours: [{ from: 100, to: 101 }] });
  assert.deepEqual(store.summed, [3, 50, 99]);
});

Deno.test("an interruption removes nothing, and leaves the rest to the next turn", async () => {
  const store = new FakeStore([1, 2, 3, 4, 5, 6]);
  let hours: readonly HourSpan[] = [{ from: 2, to: 3 }];
  for (let turns = 1; turns <= 3; turns++) {
    const { more, hours: left } = await turn(store, hours, 2);
    assert.equal(more, true);
    assert.equal(store.summed.at(-1), store.summary.at(-1));
    hours = left;
  }
  assert.deepEqual(store.removed, []);
  const { more } = await turn(store, hours);
  assert.equal(more, false);
  assert.deepEqual(new Set(store.summed), new Set([1, 2, 3, 4, 5, 6]));
  assert.equal(store.removed.length, 1);
});

Deno.test("joined hours are the same hours, in order and without overlaps", () => {
  const span = fc.tuple(fc.integer({ min: -50, max: 50 }), fc.integer({ min: 0, max: 5 }))
    .map(([from, length]) => ({ from, to: from + length }));
  const hoursOf = (spans: readonly HourSpan[]) =>
    spans.flatMap(({ from, to }) => Array.from({ length: to - from }, (_, i) => from + i));
  fc.assert(fc.property(fc.array(span), (spans) => {
    const joined = joinHours(spans);
    assert.deepEqual(hoursOf(joined), [...new Set(hoursOf(spans))].sort((a, b) => a - b));
    assert.ok(joined.every((it, i) => i === 0 || it.from > joined[i - 1].to));
  }));
});
