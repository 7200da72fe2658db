/**
 * What happens to a spool rarely: it is taken back, given a new identity, robbed of its oldest, or dead letters are
 * sent on their way again or dropped. Each is one transaction, after which both sums of the totals still hold.
 */
import type { TransitPublish } from "./frame.ts";
import type { Store } from "./store.ts";
import type { Move, Numbered, StoredLetter } from "./stored.ts";

/** Takes back what was settled after `upto`, as far as it is on disk. Returns where the lane stands now. */
export function rewind(store: Store, name: string, upto: number): number {
  const lane = store.lanes.get(name)!;
  const from = Math.min(lane.settled, Math.max(upto, lane.kept));
  store.file.begin();
  const again = store.count(lane, from, lane.settled);
  const gone = store.letters.gone(name, from, lane.settled);
  const dead = store.letters.rewind(name, from, lane.settled);
  // Which of them were filtered is not known any more: those beyond what counts as stored were.
  const stored = Math.min(store.totals.stored, again - dead - gone);
  store.totals.dead -= dead;
  store.totals.stored -= stored;
  store.totals.filtered -= again - dead - gone - stored;
  lane.pending += again - gone;
  lane.settled = lane.written = from;
  lane.grace = lane.grace.filter((it) => it.upto <= from);
  store.saveLane(lane);
  store.saveTotals();
  store.file.commit();
  return from;
}

/** Everything up to `upto` counts as stored; what comes after goes on under `identity`, whose ledger is empty. */
export function renew(store: Store, upto: number, identity: string): string {
  store.file.begin();
  for (const lane of store.lanes.values()) {
    if (lane.settled < upto) {
      const done = store.count(lane, lane.settled, upto);
      const gone = store.letters.gone(lane.name, lane.settled, upto);
      const dead = store.letters.settle(lane.name, lane.settled, upto);
      store.totals.dead += dead;
      store.totals.stored += done - dead - gone;
      store.totals.rows += done - dead - gone;
      lane.pending -= done - gone;
      lane.settled = upto;
      store.startGrace(lane);
    }
    lane.written = 0;
    store.saveLane(lane);
  }
  store.identity = identity;
  store.file.run("INSERT OR REPLACE INTO meta (key, value) VALUES ('identity', ?)", store.identity);
  store.saveTotals();
  store.file.commit();
  return store.identity;
}

/** Drops the oldest waiting frames of the longest lane until `bytes` are free. What is dropped is counted. */
export function dropOldest(store: Store, bytes: number): void {
  store.file.begin();
  for (let freed = 0; freed < bytes;) {
    const lane = [...store.lanes.values()].sort((a, b) => b.pending - a.pending)[0];
    if (!lane || lane.pending === 0) break;
    const frame = store.file.get<{ first: number; count: number; n: number }>(
      `SELECT first, count, length(data) AS n FROM queue_${lane.id} WHERE first + count - 1 > ? ORDER BY first LIMIT 1`,
      lane.settled,
    )!;
    const last = frame.first + frame.count - 1;
    const waiting = store.count(lane, lane.settled, last);
    const gone = store.letters.gone(lane.name, lane.settled, last);
    const dead = store.letters.settle(lane.name, lane.settled, last);
    store.letters.forget(lane.name, lane.kept, last);
    store.file.run(`DELETE FROM queue_${lane.id} WHERE first <= ?`, frame.first);
    store.totals.dropped += waiting - dead - gone;
    store.totals.dead += dead;
    lane.pending -= waiting - gone;
    lane.settled = lane.kept = last;
    lane.grace = [];
    store.saveLane(lane);
    freed += frame.n;
  }
  store.saveTotals();
  store.file.commit();
}

/** Puts dead letters into the queues again, as new deliveries, and takes the letters away. Returns how many were still there. */
export function replay(store: Store, moves: readonly Move[]): number {
  store.file.begin();
  let count = 0;
  const deliveries = function* (): Generator<[TransitPublish, Numbered]> {
    for (const { id, ...address } of moves) {
      const letter = store.letters.take(id);
      if (!letter) continue;
      count++;
      yield [transitOf(letter), address];
    }
  };
  store.requeue(deliveries());
  store.totals.dead -= count;
  store.saveTotals();
  store.file.commit();
  return count;
}

function transitOf({ topic, payload, qos, retain, receivedAtMs }: StoredLetter): TransitPublish {
  const name = new TextEncoder().encode(topic);
  const content = new Uint8Array(name.length + payload.length);
  content.set(name);
  content.set(payload, name.length);
  const flags = qos | (retain ? 4 : 0);
  return { flags, packetId: 0, receivedAtMs, addresses: [], content, topicBytes: name.length };
}

/** Forgets dead letters; they stay in the total. Returns how many were still there. */
export function drop(store: Store, ids: readonly number[]): number {
  store.file.begin();
  const count = ids.filter((id) => store.letters.take(id) !== undefined).length;
  store.file.commit();
  return count;
}

/** Makes the totals hold again after a rescue: what waited and is not there any more was dropped. Returns how many. */
export function balance(store: Store): number {
  const { totals } = store;
  const waiting = [...store.lanes.values()].reduce((sum, it) => sum + it.pending, 0);
  const missing = totals.deliveries - totals.stored - totals.filtered - totals.dead - totals.dropped -
    waiting;
  if (missing > 0) totals.dropped += missing;
  else for (const name of ["received", "routed", "deliveries"] as const) totals[name] -= missing;
  store.file.begin();
  store.saveTotals();
  store.file.commit();
  return Math.max(0, missing);
}
