/**
 * Dead letters in the spool: what becomes of them when they are replayed or dropped, when the database loses commits
 * afterwards, when there are too many of them, and when the one who was asked does not answer.
 */
import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import type { Clock } from "../../src/clock.ts";
import { askGateway, isInUse, redirect } from "../../src/spool/requests.ts";
import { SpoolReader } from "../../src/spool/reader.ts";
import type { SqliteSpool } from "../../src/spool/spool.ts";
import {
  assertSums,
  bytesOf,
  drain,
  letter,
  nextBatch,
  publish,
  range,
  Scratch,
  stored,
  textsOf,
  to,
} from "./scratch_spool.ts";

function readLetters(path: string) {
  using reader = new SpoolReader(path);
  return [...reader.letters()];
}

const idsIn = (path: string): number[] => readLetters(path).map((it) => it.id);

/** Appends 1..count and settles them with those of `dead` as dead letters. */
async function appendWith(spool: SqliteSpool, count: number, dead: readonly number[]): Promise<void> {
  spool.routeBy(to("a"));
  await spool.append(range(1, count).map((it) => publish(it)), to("a"));
  const batch = (await nextBatch(spool, "a"))!;
  const rows = count - dead.length;
  const letters = dead.map((n) => letter(batch, n - 1));
  await spool.settle(batch, { stored: rows, filtered: 0, rows, dead: letters });
}

Deno.test("replay puts letters behind the queue, byte for byte, and the sums hold", async () => {
  using scratch = new Scratch();
  await using spool = await scratch.open();
  const messages = [
    publish(1, { qos: 0, topic: "ä/😀", payload: bytesOf("\0x"), receivedAtMs: 1_234.5 }),
    publish(2, { qos: 2, retain: true, payload: new Uint8Array() }),
    publish(3),
  ];
  spool.routeBy(to("a"));
  await spool.append(messages, to("a"));
  const batch = (await nextBatch(spool, "a"))!;
  const [first, second, third] = batch.deliveries;
  await spool.settle(batch, { stored: 1, filtered: 0, rows: 1, dead: [letter(batch, 0), letter(batch, 1)] });
  await assertSums(spool);
  assert.equal(spool.stats.totals.dead, 2);
  const ids = idsIn(scratch.path);
  assert.deepEqual(await spool.attend({ op: "replay", ids }), { done: 2, kept: [] });
  assert.deepEqual(await spool.attend({ op: "replay", ids }), { done: 0, kept: [] }, "nothing is left");
  await assertSums(spool);
  assert.deepEqual([spool.stats.totals.dead, spool.stats.deadLetters, spool.stats.totals.pending], [0, 0, 2]);
  const again = (await nextBatch(spool, "a"))!;
  const without = ({ sequence: _, ...it }: typeof first) => it;
  assert.deepEqual(again.deliveries.map(without), [first, second].map(without));
  assert.ok(again.deliveries.every((it) => it.sequence > third.sequence));
});

Deno.test("a replayed or dropped letter is not written again when the database loses commits", async () => {
  using scratch = new Scratch();
  {
    await using spool = await scratch.open();
    await appendWith(spool, 6, [2, 3, 5]);
    const [two, three] = idsIn(scratch.path);
    await spool.attend({ op: "replay", ids: [two] });
    await spool.attend({ op: "drop", ids: [three] });
    assert.deepEqual(await drain(spool, "a"), ["2"]);
    await assertSums(spool);
    assert.equal(await spool.rewind("a", 0), 0);
    await assertSums(spool);
  }
  await using spool = await scratch.open();
  await assertSums(spool);
  assert.equal(spool.stats.totals.pending, 5);
  const batch = (await nextBatch(spool, "a"))!;
  const written = batch.deliveries.filter((it) => !batch.parked.has(it.sequence));
  assert.deepEqual(textsOf({ ...batch, deliveries: written }), ["1", "4", "6", "2"]);
  await spool.settle(batch, { stored: written.length, filtered: 0, rows: written.length, dead: [] });
  await assertSums(spool);
  const { totals, deadLetters } = spool.stats;
  assert.deepEqual([totals.stored, totals.dead, totals.pending, deadLetters], [4, 2, 0, 1]);
});

Deno.test("a letter whose batch is still on its way cannot be replayed or dropped", async () => {
  using scratch = new Scratch();
  await using spool = await scratch.open();
  spool.routeBy(to("a"));
  await spool.append([publish(1), publish(2)], to("a"));
  const batch = (await nextBatch(spool, "a"))!;
  await spool.park([letter(batch, 0)]);
  const ids = idsIn(scratch.path);
  for (const op of ["replay", "drop"] as const) {
    const { done, kept } = await spool.attend({ op, ids });
    assert.deepEqual([done, kept.length], [0, 1]);
    assert.match(kept[0].reason, /still on its way/);
  }
  await spool.settle(batch, { stored: 1, filtered: 0, rows: 1, dead: [] });
  assert.equal((await spool.attend({ op: "drop", ids })).done, 1);
  await assertSums(spool);
});

Deno.test("past their share of the spool the oldest letters go, counted and told, until there is room", async () => {
  using scratch = new Scratch();
  const told: ({ kept: number; dropped: number } | null)[] = [];
  const more = { wanted: Promise.withResolvers<void>() };
  const onLettersFull = (it: typeof told[number]) => {
    told.push(it);
    more.wanted.resolve();
  };
  // A tenth of 400,000 bytes holds 3 letters of 10,000.
  await using spool = await scratch.open({ bytesMax: 400_000, onLettersFull });
  spool.routeBy(to("a"));
  for (let n = 1; n <= 5; n++) {
    await spool.append([publish(n, { payload: new Uint8Array(10_000).fill(n) })], to("a"));
    const batch = (await nextBatch(spool, "a"))!;
    await spool.settle(batch, { stored: 0, filtered: 0, rows: 0, dead: [letter(batch, 0)] });
  }
  await assertSums(spool);
  assert.deepEqual([spool.stats.totals.dead, spool.stats.deadLetters], [5, 3]);
  const kept = readLetters(scratch.path);
  assert.deepEqual(kept.map((it) => it.payload[0]), [3, 4, 5]);
  await more.wanted.promise;
  assert.deepEqual(told[0], { kept: 3, dropped: 2 });
  using reader = new SpoolReader(scratch.path);
  assert.equal(reader.picture().lettersDropped, 2);
  assert.equal((await spool.attend({ op: "drop", ids: [kept[0].id] })).done, 1);
  while (told.at(-1) !== null) {
    more.wanted = Promise.withResolvers();
    await more.wanted.promise;
  }
});

Deno.test("what letters leave behind goes with their frames", async () => {
  using scratch = new Scratch();
  await using spool = await scratch.open({ bytesMax: 100_000, graceMs: 0 });
  await appendWith(spool, 3, [2]);
  await spool.attend({ op: "drop", ids: idsIn(scratch.path) });
  // Above its limit the spool deletes at once what is settled.
  const large = publish(9, { payload: new Uint8Array(120_000) });
  await spool.append([large], to("a"));
  await spool.settle((await nextBatch(spool, "a"))!, { stored: 1, filtered: 0, rows: 1, dead: [] });
  await spool.append([publish(10)], to("a"));
  await spool.settle((await nextBatch(spool, "a"))!, { stored: 1, filtered: 0, rows: 1, dead: [] });
  assert.equal(await spool.rewind("a", 0), 4, "the frames are gone");
  await assertSums(spool);
  using db = new DatabaseSync(scratch.path, { readOnly: true });
  assert.deepEqual(db.prepare("SELECT * FROM dead").all(), []);
});

Deno.test("a request that nobody answers is taken back and says what to do", async () => {
  using scratch = new Scratch();
  {
    await using spool = await scratch.open();
    await appendWith(spool, 1, [1]);
    assert.equal(isInUse(scratch.path), true);
  }
  assert.equal(isInUse(scratch.path), false);
  let now = 0;
  const clock: Clock = {
    now: () => now,
    wallMs: () => now,
    timer: (delayMs, callback) => {
      now += delayMs;
      queueMicrotask(callback);
      return { cancel() {} };
    },
  };
  const asked = askGateway(scratch.path, { op: "drop", ids: [1] }, { clock });
  await assert.rejects(asked, /did not answer within 10 s/);
  {
    using db = new DatabaseSync(scratch.path);
    assert.deepEqual(db.prepare("SELECT * FROM request").all(), []);
  }
  await using spool = await scratch.open();
  await spool.ping();
  assert.equal(idsIn(scratch.path).length, 1);
});

Deno.test("a gateway that is asked answers over the file, and its errors too", async () => {
  using scratch = new Scratch();
  await using spool = await scratch.open();
  await spool.append([publish(1)], to("a"));
  const batch = (await nextBatch(spool, "a"))!;
  await spool.settle(batch, { stored: 0, filtered: 0, rows: 0, dead: [letter(batch, 0)] });
  const ids = idsIn(scratch.path);
  await assert.rejects(askGateway(scratch.path, { op: "replay", ids }), /the routes are not known yet/);
  spool.routeBy(to("b"));
  const { done, kept } = await askGateway(scratch.path, { op: "replay", ids });
  assert.deepEqual([done, kept.length], [0, 1]);
  assert.deepEqual(await askGateway(scratch.path, { op: "replay", ids, to: "b" }), { done: 1, kept: [] });
  const moved = (await nextBatch(spool, "b"))!;
  assert.deepEqual(textsOf(moved), ["1"]);
  await spool.settle(moved, stored(moved));
  await assertSums(spool);
});

Deno.test("a letter goes to its own route, or to a younger one with its table, never to one that took it", () => {
  const head = { id: 1, lane: "t", sequence: 10, route: "old", topic: "x", counted: 1 };
  const at = (route: string, lane = "t") => ({ route, lane });
  const go = (addresses: ReturnType<typeof at>[], routes: [string, number][] = [], target?: string) =>
    redirect(head, addresses, new Map(routes), target);
  assert.deepEqual(go([at("other"), at("old", "u")]), at("old", "u"));
  assert.deepEqual(go([at("young")], [["young", 11]]), at("young"));
  assert.deepEqual(go([at("unknown")]), at("unknown"));
  assert.match(String(go([at("sibling")], [["sibling", 10]])), /--to TABLE \(t\)/);
  assert.match(String(go([at("young", "u")])), /--to TABLE \(u\)/);
  assert.deepEqual(go([at("young", "u")], [], "u"), at("young", "u"));
  assert.match(String(go([at("young", "u")], [], "v")), /to v, only to u/);
  assert.match(String(go([])), /no route takes its topic x/);
});
