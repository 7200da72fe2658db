/**
 * Spools in scratch folders, messages to put into them, and the sums that must hold whatever happened.
 */
import assert from "node:assert/strict";
import type { Outcome, Spool } from "../../src/contracts.ts";
import type { Address, Arrival, Batch, DeadLetter, Delivery, Publish, Release } from "../../src/message.ts";
import { openSpool, type SpoolOptions, type SqliteSpool } from "../../src/spool/spool.ts";

/** A folder that is gone after the test, with the path of a spool in it. */
export class Scratch implements Disposable {
  readonly dir: string;
  readonly path: string;

  constructor(parent?: string) {
    this.dir = Deno.makeTempDirSync({ prefix: "sluice-spool-", dir: parent });
    this.path = `${this.dir}/spool.db`;
  }

  open(options: Omit<SpoolOptions, "path"> = {}): Promise<SqliteSpool> {
    return openSpool({ path: this.path, ...options });
  }

  names(): string[] {
    return [...Deno.readDirSync(this.dir)].map((it) => it.name).sort();
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.dir, { recursive: true });
  }
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export const bytesOf = (text: string): Uint8Array => encoder.encode(text);

/** QoS 1, the packet id a function of the payload, unless the test says otherwise. */
export function publish(payload: string | number, options: Partial<Publish> = {}): Publish {
  const packetId = options.qos === 0 ? 0 : Number(payload) % 65_535 + 1 || 1;
  return {
    kind: "publish",
    topic: "home/kitchen",
    payload: encoder.encode(String(payload)),
    qos: 1,
    retain: false,
    receivedAtMs: 1_700_000_000_000,
    packetId,
    duplicate: false,
    connection: 1,
    ...options,
  };
}

export const release = (packetId: number): Release => ({ kind: "release", packetId, connection: 1 });
export const SESSION_LOST: Arrival = { kind: "sessionLost", connection: 2 };

/** Everything goes to these lanes. */
export function to(...lanes: string[]): (topic: string) => readonly Address[] {
  const addresses = lanes.map((lane) => ({ lane, route: `route of ${lane}` }));
  return () => addresses;
}

export const textOf = (it: Delivery): string => decoder.decode(it.payload);
export const textsOf = (batch: Batch): string[] => batch.deliveries.map(textOf);

/** The lane's next batch; null where nothing waits. */
export async function nextBatch(spool: Spool, lane: string): Promise<Batch | null> {
  await spool.ping();
  if (!spool.stats.lanes[lane]?.pending) return null;
  const controller = new AbortController();
  for await (const batch of spool.batches(lane, controller.signal)) return batch;
  throw new Error("the batches ended");
}

/** Everything stored, but what was parked before. */
export function stored(batch: Batch): Outcome {
  const rows = batch.deliveries.length - batch.parked.size;
  return { stored: rows, filtered: 0, rows, dead: [] };
}

/** Settles all that waits in the lane as stored and gives its payloads. */
export async function drain(spool: Spool, lane: string): Promise<string[]> {
  const texts: string[] = [];
  for (let batch; (batch = await nextBatch(spool, lane));) {
    texts.push(...textsOf(batch));
    await spool.settle(batch, stored(batch));
  }
  return texts;
}

export function letter(batch: Batch, index: number, reason = "refused"): DeadLetter {
  return { ...batch.deliveries[index], lane: batch.lane, reason, errno: 1366 };
}

/** The two sums of the promise, and that what waits in the lanes is what the sums say. */
export async function assertSums(spool: Spool): Promise<void> {
  await spool.ping();
  const { totals: t, lanes, entries } = spool.stats;
  const said = JSON.stringify(spool.stats);
  const waiting = Object.values(lanes).reduce((sum, it) => sum + it.pending, 0);
  assert.equal(t.received, t.duplicate + t.unrouted + t.routed, said);
  assert.equal(t.deliveries, t.stored + t.filtered + t.dead + t.dropped + t.pending, said);
  assert.equal(t.pending, waiting, said);
  assert.equal(entries, waiting, said);
  for (const [name, n] of Object.entries(t)) assert.ok(n >= 0, `${name} is negative: ${said}`);
}

export const range = (from: number, upto: number): string[] =>
  Array.from({ length: upto - from + 1 }, (_, i) => String(from + i));
