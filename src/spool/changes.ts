/**
 * What happens to a spool rarely: it is taken back, given a new identity, robbed of its oldest, or a dead letter is
 * sent on its way again. Each is one transaction, after which both sums of the totals still hold.
 */
import type { Store } from "./store.ts";
import { noCounts, type Numbered, type TotalName } from "./stored.ts";

/** Takes back what was settled after `upto`, as far as it is on disk. Returns where the lane stands now. */
export function rewind(store: Store, name: string, upto: number): number {
  const lane = store.lanes.get(name)!;
  const from = Math.min(lane.settled, Math.max(upto, lane.kept));
  store.file.begin();
  const again = store.count(lane, from, lane.settled);
  const { n: dead } = store.file.get<{ n: number }>(
    "SELECT count(*) AS n FROM dead WHERE lane = ? AND sequence > ? AND sequence <= ? AND counted = 1",
    name,
    from,
    lane.settled,
  )!;
  store.file.run(
    "UPDATE dead SET counted = 0 WHERE lane = ? AND sequence > ? AND sequence <= ? AND counted = 1",
    name,
    from,
    lane.settled,
  );
  // Which of them were filtered is not known any more: those beyond what counts as stored were.
  const stored = Math.min(store.totals.stored, again - dead);
  store.totals.dead -= dead;
  store.totals.stored -= stored;
  store.totals.filtered -= again - dead - stored;
  lane.pending += again;
  lane.settled = lane.written = from;
  lane.grace = lane.grace.filter((it) => it.upto <= from);
  store.saveLane(lane);
  store.saveTotals();
  store.file.commit();
  return from;
}

/** Everything up to `upto` counts as stored; what comes after goes on under a new identity, whose ledger is empty. */
export function renew(store: Store, upto: number): string {
  store.file.begin();
  for (const lane of store.lanes.values()) {
    if (lane.settled < upto) {
      const done = store.count(lane, lane.settled, upto);
      const dead = store.file.run(
        "UPDATE dead SET counted = 1 WHERE lane = ? AND sequence > ? AND sequence <= ? AND counted = 0",
        lane.name,
        lane.settled,
        upto,
      );
      store.totals.dead += dead;
      store.totals.stored += done - dead;
      store.totals.rows += done - dead;
      lane.pending -= done;
      lane.settled = upto;
    }
    lane.written = 0;
    store.saveLane(lane);
  }
  store.identity = crypto.randomUUID();
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
    const dead = store.file.run(
      "UPDATE dead SET counted = 1 WHERE lane = ? AND sequence > ? AND sequence <= ? AND counted = 0",
      lane.name,
      lane.settled,
      last,
    );
    store.file.run(`DELETE FROM queue_${lane.id} WHERE first <= ?`, frame.first);
    store.totals.dropped += waiting - dead;
    store.totals.dead += dead;
    lane.pending -= waiting;
    lane.settled = lane.kept = last;
    lane.grace = [];
    store.saveLane(lane);
    freed += frame.n;
  }
  store.saveTotals();
  store.file.commit();
}

/** Puts dead letters into the queues again, as new deliveries, and forgets the letters, in one transaction. */
export function replay(
  store: Store,
  ids: readonly number[],
  buffer: ArrayBuffer,
  addresses: readonly Numbered[],
): void {
  store.file.begin();
  const counts = noCounts();
  store.enqueue(buffer, addresses, counts, false);
  for (const id of ids) store.file.run("DELETE FROM dead WHERE id = ?", id);
  const totals: Partial<Record<TotalName, number>> = {
    deliveries: counts.deliveries - ids.length,
    dead: -ids.length,
  };
  for (const [name, n] of Object.entries(totals)) store.totals[name as TotalName] += n;
  store.saveTotals();
  store.file.commit();
}
