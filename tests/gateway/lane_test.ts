import assert from "node:assert/strict";
import type { Clock } from "../../src/clock.ts";
import { BackOffError, LedgerError, StallError } from "../../src/errors.ts";
import { Faults } from "../../src/faults.ts";
import { Availability } from "../../src/gateway/availability.ts";
import { Lane } from "../../src/gateway/lane.ts";
import { delivery, FakeSink, FakeSpool, router } from "./fakes.ts";

/** Every wait is over at once. */
const impatient: Clock = {
  now: () => performance.now(),
  wallMs: () => 0,
  timer(_delayMs, callback) {
    const id = setTimeout(callback, 0);
    return { cancel: () => clearTimeout(id) };
  },
};

/** Drains until `count` batches are settled. */
async function drain(spool: FakeSpool, sink: FakeSink, count: number, earlier?: Lane): Promise<Lane> {
  const faults = new Faults({ clock: impatient });
  const availability = new Availability({ clock: impatient, faults });
  const stop = new AbortController();
  const lane = new Lane("climate", {
    spool,
    router,
    sink,
    faults,
    availability,
    clock: impatient,
    earlier,
    onDone: () => spool.settled.length >= count && stop.abort(),
  });
  await lane.drain(stop.signal, new AbortController().signal);
  return lane;
}

const throws = (error: Error) => () => Promise.reject(error);

Deno.test("a batch is settled with what became of each of its deliveries", async () => {
  const spool = new FakeSpool([delivery(1), delivery(2, "broken"), delivery(3, "filtered"), delivery(4)]);
  spool.batchSize = 4;
  const sink = new FakeSink([async (request) => {
    await request.park([{ sequence: 4, reason: "too long", errno: 1406 }]);
    return { rows: 1, refused: 1 };
  }]);
  await drain(spool, sink, 1);
  const [{ outcome }] = spool.settled;
  assert.deepEqual(
    { stored: outcome.stored, filtered: outcome.filtered, rows: outcome.rows, dead: outcome.dead.length },
    { stored: 1, filtered: 1, rows: 1, dead: 1 },
  );
  assert.deepEqual(spool.parked.map(({ sequence, errno }) => [sequence, errno]), [[4, 1406]]);
});

Deno.test("what was parked in a try that did not commit is not written by the next one", async () => {
  const spool = new FakeSpool([delivery(1), delivery(2)]);
  const sink = new FakeSink([async (request) => {
    await request.park([{ sequence: 2, reason: "too long", errno: 1406 }]);
    throw new BackOffError("connection lost");
  }]);
  await drain(spool, sink, 1);
  assert.deepEqual(sink.requests[1].rows.map((row) => row.sequence), [1]);
  assert.equal(spool.settled[0].outcome.stored, 1);
});

Deno.test("what was parked before a crash is left out and counted by the spool alone", async () => {
  const spool = new FakeSpool([delivery(1), delivery(2)]);
  spool.parked.push({ ...delivery(1), lane: "climate", reason: "x", errno: 1406 });
  const sink = new FakeSink();
  await drain(spool, sink, 1);
  assert.deepEqual(sink.requests[0].rows.map((row) => row.sequence), [2]);
  assert.equal(spool.settled[0].outcome.stored, 1);
});

Deno.test("the lane tries again for ever when the database is away or its table is stalled", async () => {
  const spool = new FakeSpool([delivery(1)]);
  const away = new BackOffError("gone");
  const stalled = new StallError("no table", { lane: "climate" });
  const sink = new FakeSink([away, stalled, away, away, stalled].map(throws));
  const lane = await drain(spool, sink, 1);
  assert.equal(sink.requests.length, 6);
  assert.equal(lane.state, "ok");
  assert.equal(lane.reason, null);
});

Deno.test("a lane that fails while others succeed stalls by itself, and tells of no outage any more", async () => {
  const lines: string[] = [];
  const tell = (line: string) => void lines.push(line);
  const faults = new Faults({ clock: impatient, log: { warn: tell, info: tell } });
  const availability = new Availability({ clock: impatient, faults });
  const stop = new AbortController();
  const spool = new FakeSpool([delivery(1)]);
  const busy = () => {
    availability.succeeded(() => "nobody waited");
    return Promise.reject(new BackOffError("too many statements"));
  };
  const states: string[] = [];
  const sink = new FakeSink(Array.from({ length: 50 }, () => busy));
  const lane: Lane = new Lane("climate", {
    spool,
    router,
    sink: {
      write: (request) => (states.push(lane.state), sink.write(request)),
      ping: () => Promise.resolve(),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    },
    faults,
    availability,
    clock: impatient,
    onDone: () => stop.abort(),
  });
  await lane.drain(stop.signal, new AbortController().signal);
  assert.equal(sink.requests.length, 51);
  assert.deepEqual([...new Set(states)], ["ok", "waiting", "stalled"]);
  assert.ok(lines.length < 12, `${lines.length} lines:\n${lines.join("\n")}`);
});

Deno.test("a lane whose table takes nothing shows the sink what has come since, the newest of each topic", async () => {
  const faults = new Faults({ clock: impatient });
  const doubting = new Set<Lane>();
  const stop = new AbortController();
  const offer = (topic: string, payload: string) => lane.offer({ ...delivery(0, payload), topic }, "r");
  const refuses = () => {
    for (const payload of ["old", "new"]) offer("t", payload);
    offer("other", "x");
    offer("large", "x".repeat(100_000));
    return Promise.reject(new StallError("nothing", { lane: "climate", refusesAll: true }));
  };
  const sink = new FakeSink([refuses, refuses]);
  const lane = new Lane("climate", {
    spool: new FakeSpool([delivery(1)]),
    router,
    sink,
    faults,
    availability: new Availability({ clock: impatient, faults }),
    clock: impatient,
    doubting,
    onDone: () => stop.abort(),
  });
  await lane.drain(stop.signal, new AbortController().signal);
  const text = (value: unknown) => new TextDecoder().decode(value as Uint8Array);
  const seen = sink.requests.map((it) => it.witnesses?.map((row) => text(row.values[0])));
  assert.deepEqual(seen, [undefined, undefined, ["new", "x"]]);
  assert.equal(doubting.size, 0);
});

Deno.test("a ledger that went back makes the spool take the lost batch back", async () => {
  const spool = new FakeSpool([1, 2, 3, 4].map((n) => delivery(n)));
  const behind = new LedgerError("behind", { kind: "behind", upto: 1 });
  const sink = new FakeSink([() => Promise.resolve({ rows: 2, refused: 0 }), throws(behind)]);
  await drain(spool, sink, 3);
  assert.deepEqual(spool.rewinds, [1]);
  assert.deepEqual(sink.requests.map((it) => [it.after, it.last]), [[0, 2], [2, 4], [1, 3], [3, 4]]);
  assert.ok(sink.requests.every((it) => !it.adopt));
});

Deno.test("where the spool keeps less than the database lost, the lane takes the ledger as it stands", async () => {
  const spool = new FakeSpool([1, 2, 3, 4].map((n) => delivery(n)));
  spool.kept = 2;
  const behind = new LedgerError("behind", { kind: "behind", upto: 1 });
  const sink = new FakeSink([() => Promise.resolve({ rows: 2, refused: 0 }), throws(behind)]);
  await drain(spool, sink, 2);
  assert.deepEqual(sink.requests.map((it) => [it.after, it.last, it.adopt]), [[0, 2, false], [2, 4, false], [
    2,
    4,
    true,
  ]]);
});

Deno.test("a ledger row that vanished from an old lane is not answered by writing again", async () => {
  const spool = new FakeSpool([1, 2, 3, 4].map((n) => delivery(n)));
  spool.kept = 2;
  const missing = new LedgerError("missing", { kind: "missing", upto: 0 });
  const sink = new FakeSink([() => Promise.resolve({ rows: 2, refused: 0 }), throws(missing)]);
  await drain(spool, sink, 2);
  assert.deepEqual(spool.rewinds, []);
  assert.deepEqual(sink.requests.map((it) => [it.after, it.adopt]), [[0, false], [2, false], [2, true]]);
});

Deno.test("a ledger row that vanished from a young lane gets everything again", async () => {
  const spool = new FakeSpool([1, 2, 3, 4].map((n) => delivery(n)));
  const missing = new LedgerError("missing", { kind: "missing", upto: 0 });
  const sink = new FakeSink([() => Promise.resolve({ rows: 2, refused: 0 }), throws(missing)]);
  await drain(spool, sink, 3);
  assert.deepEqual(spool.rewinds, [0]);
  assert.deepEqual(sink.requests.map((it) => [it.after, it.last]), [[0, 2], [2, 4], [0, 2], [2, 4]]);
});

Deno.test("a ledger beyond everything that this spool gave out begins a new identity, which keeps what is new", async () => {
  const spool = new FakeSpool([1, 2, 3].map((n) => delivery(n)));
  spool.highestAtOpen = 2;
  const ahead = new LedgerError("ahead", { kind: "ahead", upto: 90 });
  const sink = new FakeSink([throws(ahead)]);
  await drain(spool, sink, 1);
  assert.deepEqual(spool.renewals, [2]);
  assert.deepEqual(sink.requests.map((it) => [it.spool, it.last, it.adopt]), [["spool-1", 2, false], [
    "spool-2",
    3,
    true,
  ]]);
});

Deno.test("the ledger may be beyond the batch as far as an earlier try, or a copy of the spool, can have committed", async () => {
  const spool = new FakeSpool([1, 2, 3, 4].map((n) => delivery(n)));
  spool.highestAtOpen = 3;
  const sink = new FakeSink([throws(new BackOffError("lost at COMMIT"))]);
  await drain(spool, sink, 2);
  assert.deepEqual(sink.requests.map((it) => it.highest), [3, 3, 3]);
});

Deno.test("what an earlier lane has written is no surprise to the one that takes over, nor to a smaller batch", async () => {
  const spool = new FakeSpool([1, 2, 3, 4].map((n) => delivery(n)));
  spool.batchSize = 4;
  const earlier = await drain(spool, new FakeSink(), 1);
  // The spool takes back what it had not made durable, and gives it again in smaller batches.
  await spool.rewind("climate", 0);
  spool.batchSize = 2;
  const sink = new FakeSink();
  await drain(spool, sink, 3, earlier);
  assert.deepEqual(sink.requests.map((it) => [it.last, it.highest]), [[2, 4], [4, 4]]);
});
