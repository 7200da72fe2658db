/**
 * The promise of `Spool` in contracts.ts, point by point, on a real file.
 */
import assert from "node:assert/strict";
import type { Delivery } from "../../src/message.ts";
import {
  assertSums,
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

/** Runs the appender until it has acknowledged `count` times, kills it, and gives what it had said last. */
async function killedAfter(count: number, path: string, first: number): Promise<Record<string, number>> {
  const script = new URL("appender.ts", import.meta.url).pathname;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", script, path, String(first)],
    stdout: "piped",
  }).spawn();
  let text = "";
  let killed = false;
  for await (const part of child.stdout.pipeThrough(new TextDecoderStream())) {
    text += part;
    if (!killed && text.split("acknowledged").length > count) {
      killed = true;
      child.kill("SIGKILL");
    }
  }
  assert.equal((await child.status).signal, "SIGKILL");
  const said: Record<string, number> = { acknowledged: first - 1, settling: first - 1 };
  for (const line of text.slice(0, text.lastIndexOf("\n")).split("\n")) {
    const [word, number] = line.split(" ");
    said[word] = Number(number);
  }
  return said;
}

Deno.test("what append resolved for is there, once and in order, after kill -9", async () => {
  using scratch = new Scratch();
  const seen: string[] = [];
  let first = 1;
  for (const count of [1, 20, 3, 150, 60]) {
    const { acknowledged, settling } = await killedAfter(count, scratch.path, first);
    await using spool = await scratch.open();
    assert.deepEqual(spool.notes, []);
    await assertSums(spool);
    const a = await drain(spool, "a");
    const b = await drain(spool, "b");
    seen.push(...a);
    first = Number(seen.at(-1)) + 1;
    assert.ok(first > acknowledged, `${acknowledged} was acknowledged, the last one there is ${first - 1}`);
    // What is missing in lane b was settled; what was settled last may come again.
    assert.deepEqual(b, a.slice(a.length - b.length));
    assert.ok(first - 1 - b.length <= settling, `${b.length} of lane b wait, ${settling} was settled`);
    await assertSums(spool);
  }
  assert.deepEqual(seen, range(1, first - 1));
});

Deno.test("batches come in order, each once, and wait for more", async () => {
  using scratch = new Scratch();
  await using spool = await scratch.open({ batchCountMax: 5 });
  const controller = new AbortController();
  const seen: string[] = [];
  const sequences: number[] = [];
  let after = 0;
  const reading = (async () => {
    for await (const batch of spool.batches("a", controller.signal)) {
      assert.equal(batch.after, after);
      after = batch.last;
      seen.push(...textsOf(batch));
      sequences.push(...batch.deliveries.map((it) => it.sequence));
      assert.equal(sequences.at(-1), batch.last);
      await spool.settle(batch, stored(batch));
      if (seen.length === 60) controller.abort();
    }
  })();
  for (let n = 1; n <= 60; n += 3) {
    await spool.append([publish(n), publish(n + 1), publish(n + 2)], to("a", "b"));
  }
  await reading;
  assert.deepEqual(seen, range(1, 60));
  assert.deepEqual(sequences, [...sequences].sort((x, y) => x - y));
  await assertSums(spool);
  assert.equal(spool.stats.lanes.b.pending, 60);
});

Deno.test("a delivery comes back as it was appended", async () => {
  using scratch = new Scratch();
  const payload = Uint8Array.from({ length: 256 }, (_, i) => i);
  const messages = [
    publish(1, { topic: "häuser/küche/🌡", payload, qos: 2, retain: true, receivedAtMs: 1_234.5 }),
    publish(2, { topic: "t", payload: new Uint8Array(0), qos: 0 }),
    publish(3, { topic: "x".repeat(65_535), payload: new Uint8Array(700_000).fill(7) }),
  ];
  {
    await using spool = await scratch.open();
    await spool.append(messages, to("a"));
  }
  await using spool = await scratch.open();
  const deliveries: Delivery[] = [];
  for (let batch; (batch = await nextBatch(spool, "a"));) {
    deliveries.push(...batch.deliveries);
    await spool.settle(batch, stored(batch));
  }
  for (const [i, { topic, payload, qos, retain, receivedAtMs }] of messages.entries()) {
    const { sequence, payload: read, ...rest } = deliveries[i];
    assert.deepEqual(rest, { topic, qos, retain, receivedAtMs, route: "route of a" });
    assert.ok(sequence > 0);
    assert.deepEqual(new Uint8Array(read), payload);
  }
});

Deno.test("a message may have hundreds of routes", async () => {
  using scratch = new Scratch();
  await using spool = await scratch.open();
  const many = Array.from({ length: 700 }, (_, i) => ({ lane: `lane ${i % 3}`, route: `route ${i}` }));
  await spool.append([publish(1), publish(2), { kind: "release", packetId: 9, connection: 1 }], () => many);
  assert.equal(spool.stats.entries, 1_400);
  const routes = [];
  for (const lane of spool.lanes) {
    for (let batch; (batch = await nextBatch(spool, lane));) {
      routes.push(...batch.deliveries.map((it) => it.route));
      await spool.settle(batch, stored(batch));
    }
  }
  assert.deepEqual(routes.sort(), [...many, ...many].map((it) => it.route).sort());
});

Deno.test("a settled batch is gone for good, a batch that was not settled comes again", async () => {
  using scratch = new Scratch();
  let identity: string;
  {
    await using spool = await scratch.open({ batchCountMax: 2 });
    identity = spool.identity;
    for (let n = 1; n <= 6; n += 2) await spool.append([publish(n), publish(n + 1)], to("a"));
    const first = (await nextBatch(spool, "a"))!;
    await spool.settle(first, stored(first));
    assert.deepEqual(textsOf((await nextBatch(spool, "a"))!), ["3", "4"]);
  }
  await using spool = await scratch.open();
  assert.equal(spool.identity, identity);
  assert.equal(spool.highestAtOpen, 6);
  assert.deepEqual(spool.notes, []);
  assert.deepEqual(await drain(spool, "a"), ["3", "4", "5", "6"]);
  await assertSums(spool);
  assert.equal(spool.stats.totals.stored, 6);
});

Deno.test("parking twice keeps one letter, which is counted when its batch is settled", async () => {
  using scratch = new Scratch();
  {
    await using spool = await scratch.open();
    await spool.append(range(1, 5).map((n) => publish(n)), to("a"));
    const batch = (await nextBatch(spool, "a"))!;
    await spool.park([letter(batch, 1), letter(batch, 3)]);
    await spool.park([letter(batch, 1, "refused once more")]);
    await assertSums(spool);
    assert.equal(spool.stats.totals.dead, 0);
  }
  await using spool = await scratch.open();
  const batch = (await nextBatch(spool, "a"))!;
  assert.deepEqual([...batch.parked], [batch.deliveries[1].sequence, batch.deliveries[3].sequence]);
  await spool.settle(batch, { stored: 1, filtered: 1, rows: 1, dead: [letter(batch, 4), letter(batch, 3)] });
  await assertSums(spool);
  assert.equal(spool.stats.totals.dead, 3);
  assert.equal(await nextBatch(spool, "a"), null);
});

Deno.test("rewind takes back what is still on disk, and says where it begins", async () => {
  using scratch = new Scratch();
  await using spool = await scratch.open({ batchCountMax: 3 });
  for (const n of [1, 4, 7]) await spool.append([n, n + 1, n + 2].map((it) => publish(it)), to("a"));
  await drain(spool, "a");
  assert.equal(await spool.keptAfter("a"), 0);
  assert.equal(await spool.rewind("a", 4), 4);
  await assertSums(spool);
  const batch = (await nextBatch(spool, "a"))!;
  assert.equal(batch.after, 4);
  assert.deepEqual(textsOf(batch), ["5", "6"]);
  assert.deepEqual(await drain(spool, "a"), range(5, 9));
  await assertSums(spool);
  assert.equal(await spool.rewind("a", 100), 9);
  assert.equal(spool.stats.totals.stored, 9);
});

Deno.test("rewind gives dead letters back to their batch and counts them once", async () => {
  using scratch = new Scratch();
  await using spool = await scratch.open();
  await spool.append(range(1, 4).map((n) => publish(n)), to("a"));
  const batch = (await nextBatch(spool, "a"))!;
  await spool.settle(batch, { stored: 2, filtered: 1, rows: 2, dead: [letter(batch, 0)] });
  assert.equal(await spool.rewind("a", 0), 0);
  await assertSums(spool);
  const again = (await nextBatch(spool, "a"))!;
  assert.deepEqual([...again.parked], [1]);
  await spool.settle(again, { stored: 2, filtered: 1, rows: 2, dead: [] });
  await assertSums(spool);
  const { stored: s, filtered, dead } = spool.stats.totals;
  assert.deepEqual([s, filtered, dead], [2, 1, 1]);
});

Deno.test("renew settles a lane and goes on under a new identity, which lasts; other lanes are as they were", async () => {
  using scratch = new Scratch();
  let renewed: string;
  {
    await using spool = await scratch.open();
    await spool.append(range(1, 5).map((n) => publish(n)), to("a", "b"));
    const before = (await nextBatch(spool, "b"))!;
    assert.equal(before.spool, spool.identity);
    renewed = await spool.renew("b", 7);
    assert.notEqual(renewed, spool.identity);
    await assertSums(spool);
    // What was in hand is not settled by that: it belongs to the old identity.
    await spool.settle(before, stored(before));
    const batch = (await nextBatch(spool, "b"))!;
    assert.deepEqual([batch.spool, batch.after], [renewed, 0]);
    assert.deepEqual(textsOf(batch), ["3", "4", "5"]);
    const other = (await nextBatch(spool, "a"))!;
    assert.equal(other.spool, spool.identity);
    assert.equal(other.deliveries.length, 5);
  }
  await using spool = await scratch.open();
  assert.deepEqual(spool.notes, []);
  assert.equal((await nextBatch(spool, "b"))!.spool, renewed);
  assert.deepEqual(await drain(spool, "b"), ["3", "4", "5"]);
  assert.deepEqual(await drain(spool, "a"), range(1, 5));
  await assertSums(spool);
});

Deno.test("what the filters remember is kept with the batch", async () => {
  using scratch = new Scratch();
  {
    await using spool = await scratch.open();
    await spool.append([publish(1), publish(2)], to("a", "b"));
    const batch = (await nextBatch(spool, "a"))!;
    await spool.settle(batch, { ...stored(batch), memory: [["x", "1"], ["y", "2"], ["z", "3"]] });
    const other = (await nextBatch(spool, "b"))!;
    await spool.settle(other, { ...stored(other), memory: [["x", null], ["y", "ä"]] });
  }
  await using spool = await scratch.open();
  assert.deepEqual([...await spool.memory()].sort(), [["y", "ä"], ["z", "3"]]);
});

Deno.test("lanes whose names differ only in case are two lanes", async () => {
  using scratch = new Scratch();
  const address = (topic: string) => [{ lane: topic, route: topic }];
  {
    await using spool = await scratch.open();
    await spool.append(
      [publish(1, { topic: "Climate" }), publish(2, { topic: "climate" }), publish(3, { topic: "CLIMATE" })],
      address,
    );
    const batch = (await nextBatch(spool, "climate"))!;
    await spool.settle(batch, { stored: 0, filtered: 0, rows: 0, dead: [letter(batch, 0)] });
  }
  await using spool = await scratch.open();
  assert.deepEqual([...spool.lanes].sort(), ["CLIMATE", "Climate", "climate"]);
  const batch = (await nextBatch(spool, "Climate"))!;
  assert.deepEqual([...batch.parked], []);
  assert.equal(batch.deliveries[0].route, "Climate");
  assert.deepEqual(await drain(spool, "Climate"), ["1"]);
  assert.deepEqual(await drain(spool, "climate"), []);
  assert.deepEqual(await drain(spool, "CLIMATE"), ["3"]);
  await assertSums(spool);
});

Deno.test("a new lane is announced once, before its first batch", async () => {
  using scratch = new Scratch();
  const told: string[] = [];
  await using spool = await scratch.open({ onLane: (lane) => told.push(lane) });
  await spool.append([publish(1)], to("a"));
  await spool.append([publish(2)], to("a", "b"));
  assert.deepEqual(told, ["a", "b"]);
  assert.deepEqual(spool.lanes, ["a", "b"]);
});
