/**
 * A spool that has reached its limit, or that another program holds: who waits, what is dropped, and that the sums hold.
 */
import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import type { Publish } from "../../src/message.ts";
import { assertSums, drain, nextBatch, publish, Scratch, stored, textsOf, to } from "./scratch_spool.ts";

const LIMIT = 2_000_000;

/** So much random text behind the number that it cannot be packed. */
function large(n: number, options: Partial<Publish> = {}): Publish {
  const bytes = crypto.getRandomValues(new Uint8Array(15_000));
  return publish(`${n} ${bytes.toBase64()}`, { packetId: options.qos === 0 ? 0 : n, ...options });
}

const numberOf = (text: string) => Number(text.split(" ")[0]);

Deno.test("a full spool makes QoS 1 wait, tells why, and takes it when there is room", async () => {
  using scratch = new Scratch();
  const told: (string | null)[] = [];
  await using spool = await scratch.open({ bytesMax: LIMIT, onFullChange: (reason) => told.push(reason) });
  let n = 0, done = false;
  const filling = (async () => {
    while (told.length === 0) await spool.append([large(++n), large(++n, { qos: 0 })], to("a"));
    done = true;
  })();
  while (told.length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.match(told[0]!, /has reached its limit of 2000000 bytes/);
  assert.equal(spool.stats.full, true);
  await assertSums(spool);
  assert.ok(!done && n > 10, `${n}`);
  // A batch is not enough: what is settled must be deleted, too.
  for (let batch; !done && (batch = await nextBatch(spool, "a"));) {
    await spool.settle(batch, stored(batch));
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  await filling;
  assert.equal(told.at(-1), null);
  assert.deepEqual((await drain(spool, "a")).map(numberOf).slice(-2), [n - 1, n]);
  await assertSums(spool);
  assert.equal(spool.stats.totals.dropped, 0);
});

Deno.test("a full spool drops QoS 0 that comes alone, and counts it", async () => {
  using scratch = new Scratch();
  await using spool = await scratch.open({ bytesMax: LIMIT });
  let n = 0;
  while (n < 500) await spool.append([large(++n, { qos: 0 }), publish(n, { qos: 0 })], to("a", "b"));
  await assertSums(spool);
  const { dropped, pending, received } = spool.stats.totals;
  assert.equal(received, 1_000);
  assert.ok(dropped > 1_000, `${dropped} dropped`);
  assert.equal(dropped + pending, 2_000);
  const size = Deno.statSync(scratch.path).size + Deno.statSync(`${scratch.path}-wal`).size;
  assert.ok(size < LIMIT + 10_000_000, `${size} bytes`);
  assert.equal((await drain(spool, "a")).length, pending / 2);
  await assertSums(spool);
});

Deno.test("under dropOldest the oldest go, but for the batch in hand, and each message ends in one place", async () => {
  using scratch = new Scratch();
  await using spool = await scratch.open({ bytesMax: LIMIT, onFull: "dropOldest" });
  let n = 0;
  while (n < 20) await spool.append([large(++n)], to("a"));
  const inHand = (await nextBatch(spool, "a"))!;
  while (n < 400) await spool.append([large(++n)], to("a"));
  await assertSums(spool);
  const { dropped } = spool.stats.totals;
  assert.ok(dropped > 200, `${dropped} dropped`);
  assert.ok(spool.stats.bytes < LIMIT * 1.1);
  // The database comes back: the batch that it gets is what was in hand, and then what was not dropped.
  await spool.settle(inHand, stored(inHand));
  const numbers = [...textsOf(inHand), ...await drain(spool, "a")].map(numberOf);
  await assertSums(spool);
  assert.equal(new Set(numbers).size, numbers.length);
  assert.equal(numbers.length + dropped, n);
  assert.equal(numbers.at(-1), n);
  assert.deepEqual(numbers.slice(0, inHand.deliveries.length), inHand.deliveries.map((_, i) => i + 1));
  assert.deepEqual(spool.stats.totals.stored, numbers.length);
});

Deno.test("under dropOldest a spool that was reopened knows what waits", async () => {
  using scratch = new Scratch();
  let n = 0, waiting: number;
  {
    await using spool = await scratch.open({ bytesMax: LIMIT, onFull: "dropOldest" });
    while (n < 20) await spool.append([large(++n)], to("a", "b"));
    await nextBatch(spool, "a");
    while (n < 300) await spool.append([large(++n)], to("a", "b"));
    waiting = spool.stats.totals.pending;
  }
  await using spool = await scratch.open({ bytesMax: LIMIT });
  await assertSums(spool);
  assert.equal(spool.stats.totals.pending, waiting);
  const drained = (await drain(spool, "a")).length + (await drain(spool, "b")).length;
  assert.equal(drained, waiting);
  await assertSums(spool);
});

Deno.test("a log that a reader keeps from being shortened counts towards the limit", async () => {
  using scratch = new Scratch();
  const told: (string | null)[] = [];
  await using spool = await scratch.open({
    bytesMax: 20_000_000,
    onFullChange: (reason) => told.push(reason),
  });
  await spool.append([publish(0)], to("a"));
  {
    using reader = new DatabaseSync(scratch.path, { readOnly: true });
    reader.exec("BEGIN");
    reader.prepare("SELECT * FROM meta").all();
    const stop = new AbortController();
    const filling = (async () => {
      for (let n = 1;; n++) {
        await spool.append([large(n)], to("a"), stop.signal);
        const batch = await nextBatch(spool, "a");
        if (batch) await spool.settle(batch, stored(batch));
      }
    })();
    while (told.length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
    assert.match(told[0]!, /the log of the spool has grown to \d+ bytes, because another program reads it/);
    stop.abort();
    await assert.rejects(filling);
    assert.ok(Deno.statSync(`${scratch.path}-wal`).size < 40_000_000);
    // What is there drains nevertheless.
    await drain(spool, "a");
  }
  await spool.append([large(1)], to("a"));
  assert.equal(told.at(-1), null);
  await assertSums(spool);
});

Deno.test("while another program locks the spool everything waits, and nothing ends", async () => {
  using scratch = new Scratch();
  const told: (string | null)[] = [];
  await using spool = await scratch.open({ onFullChange: (reason) => told.push(reason) });
  await spool.append([publish(1), publish(2)], to("a"));
  const batch = (await nextBatch(spool, "a"))!;
  {
    using other = new DatabaseSync(scratch.path);
    other.exec("BEGIN IMMEDIATE");
    const waiting = spool.append([publish(3)], to("a"));
    while (told.length === 0) await new Promise((resolve) => setTimeout(resolve, 50));
    assert.match(told[0]!, /another program locks the spool/);
    other.exec("COMMIT");
    await waiting;
  }
  await spool.settle(batch, stored(batch));
  assert.deepEqual(await drain(spool, "a"), ["3"]);
  await assertSums(spool);
});
