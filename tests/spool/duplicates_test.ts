/**
 * What the broker sends again is stored once, what is new is stored however much it looks like something old; both
 * also after the spool was opened anew.
 */
import assert from "node:assert/strict";
import type { Arrival } from "../../src/message.ts";
import type { SqliteSpool } from "../../src/spool/spool.ts";
import { assertSums, drain, publish, release, Scratch, SESSION_LOST, to } from "./scratch_spool.ts";

const again = (n: number, qos: 1 | 2) => publish(n, { qos, duplicate: true });

/** Runs `steps` one after the other, each in a spool of its own if `reopened`, and gives what is in lane "a". */
async function contents(reopened: boolean, steps: readonly Arrival[][]): Promise<string[]> {
  using scratch = new Scratch();
  let spool: SqliteSpool = await scratch.open();
  for (const step of steps) {
    await spool.append(step, to("a"));
    await assertSums(spool);
    if (reopened) {
      await spool[Symbol.asyncDispose]();
      spool = await scratch.open();
      await assertSums(spool);
    }
  }
  const texts = await drain(spool, "a");
  const { received, duplicate } = spool.stats.totals;
  assert.equal(received - duplicate, texts.length);
  await spool[Symbol.asyncDispose]();
  return texts;
}

for (const reopened of [false, true]) {
  const when = reopened ? ", also after each reopening" : "";

  Deno.test(`QoS 1 with DUP and a known id and content is a duplicate${when}`, async () => {
    const steps = [[publish(1), publish(2)], [again(1, 1), again(2, 1), again(3, 1)], [again(1, 1)]];
    assert.deepEqual(await contents(reopened, steps), ["1", "2", "3"]);
  });

  Deno.test(`QoS 1 without DUP, or with other content, is new${when}`, async () => {
    const other = publish("other", { packetId: 2, duplicate: true });
    const moved = publish(1, { topic: "elsewhere", duplicate: true });
    assert.deepEqual(await contents(reopened, [[publish(1)], [publish(1)], [moved], [other]]), [
      "1",
      "1",
      "1",
      "other",
    ]);
  });

  Deno.test(`QoS 2 is a duplicate until its PUBREL, with or without DUP${when}`, async () => {
    const first = publish(1, { qos: 2 });
    assert.deepEqual(await contents(reopened, [[first], [first], [again(1, 2)]]), ["1"]);
  });

  Deno.test(`a QoS 2 id that was released is free for new messages${when}`, async () => {
    const first = publish(1, { qos: 2 });
    const steps = [[first], [release(first.packetId)], [publish(1, { qos: 2 })]];
    assert.deepEqual(await contents(reopened, steps), ["1", "1"]);
  });

  Deno.test(`QoS 2 that comes again after its PUBREL with DUP is a duplicate${when}`, async () => {
    const first = publish(1, { qos: 2 });
    assert.deepEqual(await contents(reopened, [[first, release(first.packetId)], [again(1, 2)]]), ["1"]);
  });

  Deno.test(`the ids of a lost session mean nothing any more${when}`, async () => {
    const both = [publish(1), publish(2, { qos: 2 })];
    const steps = [both, [SESSION_LOST, again(1, 1), again(2, 2)], [again(1, 1), again(2, 2)]];
    assert.deepEqual(await contents(reopened, steps), ["1", "2", "1", "2"]);
  });

  Deno.test(`QoS 0 is never a duplicate, and what has no route is counted${when}`, async () => {
    const zero = publish(1, { qos: 0 });
    assert.deepEqual(await contents(reopened, [[zero, zero], [{ ...zero, duplicate: true }]]), [
      "1",
      "1",
      "1",
    ]);
  });
}

Deno.test("a duplicate of a message without a route is a duplicate, not unrouted once more", async () => {
  using scratch = new Scratch();
  await using spool = await scratch.open();
  const first = await spool.append([publish(1), publish(2, { qos: 0 })], () => []);
  assert.deepEqual([first.received, first.unrouted, first.duplicate], [2, 2, 0]);
  const second = await spool.append([again(1, 1)], to("a"));
  assert.deepEqual([second.received, second.duplicate, second.deliveries], [1, 1, 0]);
  await assertSums(spool);
});

Deno.test("an open QoS 2 id outlasts any number of others, and the receipts stay small", async () => {
  using scratch = new Scratch();
  let bytes = 0;
  for (let start = 0; start < 12; start++) {
    await using spool = await scratch.open();
    if (start === 0) await spool.append([publish(60_000, { qos: 2 })], to("a"));
    const others = Array.from({ length: 5_000 }, (_, i) => publish((start * 5_000 + i) % 59_000));
    await spool.append(others, () => []);
    const { duplicate } = await spool.append([
      again(60_000, 2),
      again(Number(4_990 + start * 5_000) % 59_000, 1),
    ], () => []);
    assert.equal(duplicate, 2);
    await assertSums(spool);
    if (start === 4) bytes = spool.stats.bytes;
    if (start > 4) assert.ok(spool.stats.bytes < bytes + 300_000, `${spool.stats.bytes}, ${bytes} before`);
  }
});
