/**
 * The spool against a model of it, step by random step, with reopenings and crashes. A crash is a copy of the files as
 * they lie there at that moment. `SEED=<number>` repeats a run, `STEPS=<number>` makes it longer.
 */
import assert from "node:assert/strict";
import type { Arrival, Batch, DeadLetter, QoS } from "../../src/message.ts";
import type { SqliteSpool } from "../../src/spool/spool.ts";
import { seeded } from "../faults/schedule.ts";
import { assertSums, letter, nextBatch, publish, release, Scratch, SESSION_LOST } from "./scratch_spool.ts";
import { SpoolModel } from "./spool_model.ts";

const LANES: Readonly<Record<string, readonly string[]>> = {
  none: [],
  one: ["a"],
  two: ["a", "b"],
  three: ["C", "b", "c"],
};
const TOPICS = Object.keys(LANES);
const NAMES = ["a", "b", "c", "C"];
const ADDRESSES = Object.fromEntries(
  TOPICS.map((topic) => [topic, LANES[topic].map((lane) => ({ lane, route: `${topic} ${lane}` }))]),
);

class Run {
  readonly random: () => number;
  #scratch = new Scratch(existing("/dev/shm"));
  #spool!: SqliteSpool;
  #model = new SpoolModel();
  /** States that a crash may leave: the last that is durable, and those that settling made since. */
  #possible: SpoolModel[] = [];

  constructor(seed: number) {
    this.random = seeded(seed);
  }

  int(below: number): number {
    return Math.floor(this.random() * below);
  }

  pick<T>(values: readonly T[]): T {
    return values[this.int(values.length)];
  }

  async open(): Promise<void> {
    this.#spool = await this.#scratch.open({ batchCountMax: 1 + this.int(20), batchBytesMax: 20_000 });
    assert.deepEqual(this.#spool.notes, []);
  }

  async begin(): Promise<void> {
    await this.open();
    this.#durable();
  }

  async close(): Promise<void> {
    await this.#spool[Symbol.asyncDispose]();
    this.#scratch[Symbol.dispose]();
  }

  #durable(): void {
    this.#possible = [this.#model.clone()];
  }

  #publish(): Arrival {
    const id = 1 + this.int(12);
    const size = this.random() < 0.1 ? this.int(5_000) : this.int(10);
    const options = {
      topic: this.pick(TOPICS),
      qos: this.int(3) as QoS,
      packetId: id,
      duplicate: this.random() < 0.3,
    };
    return publish(`${this.int(2)}${"x".repeat(size)}`, options.qos ? options : { ...options, packetId: 0 });
  }

  async append(): Promise<void> {
    const arrivals: Arrival[] = [];
    for (let n = this.int(8); n >= 0; n--) {
      const chance = this.random();
      if (chance < 0.01) arrivals.push(SESSION_LOST);
      else if (chance < 0.2) arrivals.push(release(1 + this.int(12)));
      else arrivals.push(this.#publish());
    }
    this.#model.append(arrivals, (topic) => LANES[topic]);
    await this.#spool.append(arrivals, (topic) => ADDRESSES[topic]);
    this.#durable();
  }

  /** Takes a batch, parks some of it, and mostly settles it. */
  async batch(): Promise<void> {
    const lane = this.pick(NAMES);
    const batch = await nextBatch(this.#spool, lane);
    this.#model.check(lane, batch);
    if (batch === null) return;
    if (this.random() < 0.3) {
      const parked = await this.#park(batch);
      batch.deliveries.filter((it) => parked.includes(it.sequence)).forEach((it) =>
        (batch.parked as Set<number>).add(it.sequence)
      );
    }
    if (this.random() < 0.8) await this.#settle(batch);
  }

  async #park(batch: Batch): Promise<number[]> {
    const letters = batch.deliveries.flatMap((_, i) => this.random() < 0.3 ? [letter(batch, i)] : []);
    const sequences = letters.map((it) => it.sequence);
    await this.#spool.park(letters);
    this.#model.park(batch.lane, sequences);
    this.#durable();
    return sequences;
  }

  async #settle(batch: Batch): Promise<void> {
    const dead: DeadLetter[] = [];
    let stored = 0, filtered = 0;
    for (const [i, { sequence }] of batch.deliveries.entries()) {
      if (batch.parked.has(sequence)) continue;
      const chance = this.random();
      if (chance < 0.1) dead.push(letter(batch, i));
      else if (chance < 0.3) filtered++;
      else stored++;
    }
    await this.#spool.settle(batch, { stored, filtered, rows: stored, dead });
    this.#model.settle(batch, { dead });
    this.#possible.push(this.#model.clone());
  }

  async rewind(): Promise<void> {
    const lane = this.pick(Object.keys(this.#model.lanes));
    if (lane === undefined) return;
    const upto = this.random() < 0.9
      ? Math.max(0, this.#model.lanes[lane].settled - this.int(30))
      : this.int(this.#model.highest + 5);
    assert.equal(await this.#spool.rewind(lane, upto), this.#model.rewind(lane, upto));
    this.#durable();
  }

  async renew(): Promise<void> {
    const lane = this.pick(Object.keys(this.#model.lanes));
    if (lane === undefined) return;
    const upto = Math.max(0, this.#model.highest - this.int(50));
    const identity = await this.#spool.renew(lane, upto);
    assert.notEqual(identity, this.#model.lanes[lane].identity);
    this.#model.renew(lane, upto, identity);
    this.#durable();
  }

  async reopen(): Promise<void> {
    const { identity } = this.#spool;
    await this.#spool[Symbol.asyncDispose]();
    await this.open();
    assert.equal(this.#spool.identity, identity);
    assert.equal(this.#spool.highestAtOpen, this.#model.highest);
    this.#durable();
  }

  async crash(): Promise<void> {
    const { identity } = this.#spool;
    const copy = new Scratch(existing("/dev/shm"));
    copyStill(this.#scratch, copy);
    await this.close();
    this.#scratch = copy;
    await this.open();
    assert.equal(this.#spool.identity, identity);
    const seen = JSON.stringify(await this.picture());
    const found = this.#possible.findLast((it) => JSON.stringify(it.picture()) === seen);
    assert.ok(
      found,
      `${seen}\nis none of\n${this.#possible.map((it) => JSON.stringify(it.picture())).join("\n")}`,
    );
    this.#model = found;
    this.#durable();
  }

  async picture(): Promise<unknown> {
    await assertSums(this.#spool);
    const { totals: t, lanes } = this.#spool.stats;
    const { received, duplicate, unrouted, routed, deliveries, stored, filtered, dead } = t;
    return {
      ...{ received, duplicate, unrouted, routed, deliveries, done: stored + filtered, dead },
      lanes: Object.entries(lanes).sort().map(([name, { pending }]) => [name, pending]),
    };
  }

  async step(): Promise<string> {
    const [name] = this.pick(STEPS);
    await this[name]();
    assert.deepEqual(await this.picture(), this.#model.picture());
    return name;
  }

  /** At the end all that waits must come, in order. */
  async drain(): Promise<void> {
    for (const lane of NAMES) {
      for (let batch; (batch = await nextBatch(this.#spool, lane));) {
        this.#model.check(lane, batch);
        await this.#settle(batch);
      }
      this.#model.check(lane, null);
    }
    assert.equal(this.#spool.stats.totals.dropped, 0);
  }
}

type Step = "append" | "batch" | "rewind" | "renew" | "reopen" | "crash";
const STEPS =
  ([["append", 90], ["batch", 95], ["rewind", 10], ["renew", 2], ["reopen", 1], ["crash", 2]] as const)
    .flatMap(([name, weight]) => Array<[Step]>(weight).fill([name]));

function existing(dir: string): string | undefined {
  try {
    return Deno.statSync(dir).isDirectory ? dir : undefined;
  } catch {
    return undefined;
  }
}

/** Copies the files at a moment at which nobody writes to them. */
function copyStill(from: Scratch, to: Scratch): void {
  const state = () =>
    ["", "-wal"].map((suffix) => {
      const { size, mtime } = Deno.statSync(from.path + suffix);
      return `${size} ${mtime?.getTime()}`;
    }).join();
  for (let before = ""; before !== state();) {
    before = state();
    for (const suffix of ["", "-wal", ".identity"]) Deno.copyFileSync(from.path + suffix, to.path + suffix);
  }
}

Deno.test("random sequences of everything that can happen leave what the model says", async () => {
  const steps = Number(Deno.env.get("STEPS") ?? 2_500);
  const seed = Number(Deno.env.get("SEED") ?? Math.floor(Math.random() * 2 ** 31));
  console.log(`SEED=${seed}`);
  const run = new Run(seed);
  await run.begin();
  const names: string[] = [];
  try {
    for (let i = 0; i < steps; i++) names.push(await run.step());
    await run.drain();
  } catch (error) {
    console.log(`SEED=${seed}: step ${names.length}, after ${names.slice(-8).join(", ")}`);
    throw error;
  } finally {
    await run.close();
  }
});
