/**
 * What a spool must contain, as plainly as it can be said: arrays in memory, no file, no pages, no frames.
 */
import assert from "node:assert/strict";
import type { Outcome } from "../../src/contracts.ts";
import type { Arrival, Batch, Publish } from "../../src/message.ts";
import { textOf } from "./scratch_spool.ts";

interface Entry {
  readonly sequence: number;
  readonly text: string;
}

interface ModelLane {
  /** Grows only. */
  readonly entries: Entry[];
  readonly dead: Set<number>;
  settled: number;
  written: number;
  /** Where it is not the spool's. */
  identity?: string;
}

type Receipt = { readonly kind: "qos1" | "qos2" | "released"; readonly content: string };

const contentOf = (it: Publish) => `${it.topic} ${it.payload}`;

export class SpoolModel {
  lanes: Record<string, ModelLane> = {};
  receipts: Record<number, Receipt> = {};
  highest = 0;
  totals = { received: 0, duplicate: 0, unrouted: 0, routed: 0, deliveries: 0, done: 0, dead: 0 };

  /** As it is now, but for what is appended later. */
  clone(): SpoolModel {
    const lanes = Object.entries(this.lanes).map(([name, it]) => [name, { ...it, dead: new Set(it.dead) }]);
    const copies = { lanes: Object.fromEntries(lanes), receipts: { ...this.receipts } };
    return Object.assign(new SpoolModel(), this, copies, { totals: { ...this.totals } });
  }

  waiting(lane: string): Entry[] {
    const { entries, settled } = this.lanes[lane] ?? { entries: [], settled: 0 };
    return entries.slice(entries.findLastIndex((it) => it.sequence <= settled) + 1);
  }

  #dead(lane: string, entries: readonly Entry[]): Entry[] {
    return entries.filter((it) => this.lanes[lane].dead.has(it.sequence));
  }

  append(arrivals: readonly Arrival[], lanesOf: (topic: string) => readonly string[]): void {
    const taken = new Map<string, string[]>();
    for (const it of arrivals) {
      if (it.kind === "sessionLost") this.receipts = {};
      else if (it.kind === "release") {
        const content = this.receipts[it.packetId]?.content ?? "";
        this.receipts[it.packetId] = { kind: "released", content };
      } else {
        this.totals.received++;
        const lanes = lanesOf(it.topic);
        if (this.#isDuplicate(it)) this.totals.duplicate++;
        else if (lanes.length === 0) this.totals.unrouted++;
        else {
          this.totals.routed++;
          this.totals.deliveries += lanes.length;
          for (const lane of lanes) taken.set(lane, [...taken.get(lane) ?? [], String(it.payload)]);
        }
      }
    }
    // The deliveries of one lane lie together, and lanes in the order in which they were met.
    for (const [lane, payloads] of taken) {
      const { entries } = this.lanes[lane] ??= { entries: [], dead: new Set(), settled: 0, written: 0 };
      for (const payload of payloads) {
        const text = textOf({ payload: Uint8Array.from(payload.split(","), Number) } as never);
        entries.push({ sequence: ++this.highest, text });
      }
    }
  }

  #isDuplicate(it: Publish): boolean {
    if (it.qos === 0) return false;
    const known = this.receipts[it.packetId];
    const content = contentOf(it);
    if (known?.content === content) {
      if (it.qos === 2 && (known.kind === "qos2" || (known.kind === "released" && it.duplicate))) return true;
      if (it.qos === 1 && known.kind === "qos1" && it.duplicate) return true;
    }
    this.receipts[it.packetId] = { kind: it.qos === 2 ? "qos2" : "qos1", content };
    return false;
  }

  /** The batch is what waits, from the oldest on. */
  check(lane: string, batch: Batch | null): void {
    const waiting = this.waiting(lane);
    if (batch === null) return assert.equal(waiting.length, 0);
    const expected = waiting.slice(0, batch.deliveries.length);
    assert.deepEqual(
      batch.deliveries.map((it) => [it.sequence, textOf(it)]),
      expected.map((it) => [it.sequence, it.text]),
    );
    assert.ok(expected.length > 0);
    assert.equal(batch.last, expected.at(-1)!.sequence);
    assert.equal(batch.after, this.lanes[lane].written);
    const { identity } = this.lanes[lane];
    if (identity) assert.equal(batch.spool, identity);
    assert.deepEqual([...batch.parked], this.#dead(lane, expected).map((it) => it.sequence));
  }

  park(lane: string, sequences: readonly number[]): void {
    for (const sequence of sequences) this.lanes[lane].dead.add(sequence);
  }

  settle({ lane, last }: Batch, { dead }: Pick<Outcome, "dead">): void {
    this.park(lane, dead.map((it) => it.sequence));
    this.#done(lane, last);
    this.lanes[lane].written = last;
  }

  #done(lane: string, upto: number): void {
    const done = this.waiting(lane).filter((it) => it.sequence <= upto);
    const dead = this.#dead(lane, done).length;
    this.totals.dead += dead;
    this.totals.done += done.length - dead;
    this.lanes[lane].settled = Math.max(upto, this.lanes[lane].settled);
  }

  rewind(lane: string, upto: number): number {
    const it = this.lanes[lane];
    const from = Math.min(upto, it.settled);
    const again = it.entries.filter(({ sequence }) => sequence > from && sequence <= it.settled);
    const dead = this.#dead(lane, again).length;
    this.totals.dead -= dead;
    this.totals.done -= again.length - dead;
    return it.settled = it.written = from;
  }

  renew(lane: string, upto: number, identity: string): void {
    this.#done(lane, upto);
    Object.assign(this.lanes[lane], { written: 0, identity });
  }

  /** All that can be seen from outside, to be compared. */
  picture(): unknown {
    const lanes = Object.entries(this.lanes).sort().map(([name]) => [name, this.waiting(name).length]);
    return { ...this.totals, lanes };
  }
}
