/**
 * What happens to a spool rarely: it is taken back, a lane gets a new identity, it is robbed of its oldest, or dead letters are
 * sent on their way again or dropped. Each is one transaction, after which both sums of the totals still hold.
 */
import type { TransitPublish } from "./frame.ts";
import type { Store } from "./store.ts";
import type { LaneState, Move, Numbered, StoredLetter } from "./stored.ts";

/** Takes back what was settled after `upto`, as far as it is on disk. Returns where the lane stands now. */
export function rewind(store: Store, name: string, upto: number): number {
  const { file, letters, totals } = store;
  const lane = store.lanes.get(name)!;
  const from = Math.min(lane.settled, Math.max(upto, lane.kept));
  file.begin();
  const again = lane.queue.count(from, lane.settled);
  const gone = letters.gone(name, from, lane.settled);
  const dead = letters.rewind(name, from, lane.settled);
  // Which of them were filtered is not known any more: those beyond what counts as stored were.
  const stored = Math.min(totals.stored, again - dead - gone);
  totals.dead -= dead;
  totals.stored -= stored;
  totals.filtered -= again - dead - gone - stored;
  lane.pending += again - gone;
  lane.settled = lane.written = from;
  lane.grace = lane.grace.filter((it) => it.upto <= from);
  lane.inHand = undefined;
  store.moved(lane);
  store.commit();
  return from;
}

/** Everything of the lane up to `upto` counts as stored; what comes after goes on under `identity`, whose ledger is empty. */
export function renew(store: Store, name: string, upto: number, identity: string): string {
  const { file, letters, totals } = store;
  const lane = store.lanes.get(name)!;
  file.begin();
  if (upto > lane.settled) {
    const done = lane.queue.count(lane.settled, upto);
    const gone = letters.gone(name, lane.settled, upto);
    const dead = letters.settle(name, lane.settled, upto);
    totals.dead += dead;
    totals.stored += done - dead - gone;
    totals.rows += done - dead - gone;
    lane.pending -= done - gone;
    lane.settled = upto;
    store.startGrace(lane);
  }
  lane.written = 0;
  lane.inHand = undefined;
  lane.identity = identity;
  file.run("UPDATE lane SET identity = ? WHERE id = ?", identity, lane.id);
  store.moved(lane);
  store.commit();
  return identity;
}

/** Frames that go in one go before the longest lane is looked for again. */
const DROPPED_AT_ONCE = 16;

/**
 * Drops the oldest waiting frames of the longest lane until `bytes` are free. What is dropped is counted. A batch that
 * is in hand stays: it may be in the database already.
 */
export function dropOldest(store: Store, bytes: number): void {
  store.file.begin();
  const full = new Set<LaneState>();
  for (let freed = 0; freed < bytes;) {
    const lane = longest(store, full);
    if (!lane) break;
    for (let n = 0; n < DROPPED_AT_ONCE && freed < bytes; n++) {
      const head = lane.queue.headAfter(Math.max(lane.settled, lane.inHand?.last ?? 0));
      if (head) dropFrame(store, lane, head);
      else full.add(lane);
      freed += head?.bytes ?? 0;
    }
    store.moved(lane);
  }
  store.commit();
}

function longest(store: Store, except: ReadonlySet<LaneState>): LaneState | undefined {
  let found: LaneState | undefined;
  for (const it of store.lanes.values()) {
    if (it.pending > (found?.pending ?? 0) && !except.has(it)) found = it;
  }
  return found;
}

function dropFrame(
  { letters, totals }: Store,
  lane: LaneState,
  { first, count }: { first: number; count: number },
): void {
  const last = first + count - 1;
  const gone = letters.gone(lane.name, first - 1, last);
  const dead = letters.settle(lane.name, first - 1, last);
  letters.forget(lane.name, first - 1, last);
  lane.queue.delete(first);
  totals.dropped += count - dead - gone;
  totals.dead += dead;
  lane.pending -= count - gone;
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
  store.journal.counted();
  store.commit();
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
  store.commit();
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
  store.journal.counted();
  store.commit();
  return Math.max(0, missing);
}
