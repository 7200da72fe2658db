/**
 * What the pool has done so far: counters that only grow. OpenTelemetry's `db.client.connection.*` are made of them.
 */
import { CLOSE_REASONS, type CloseReason, type PoolTotals } from "./types.ts";

export class Tally {
  acquired = 0;
  released = 0;
  timedOut = 0;
  aborted = 0;
  waitedMs = 0;
  opened = 0;
  connectFailed = 0;
  connectMs = 0;
  usedMs = 0;
  readonly closed = Object.fromEntries(CLOSE_REASONS.map((reason) => [reason, 0])) as Record<
    CloseReason,
    number
  >;

  get totals(): PoolTotals {
    return { ...this, closed: { ...this.closed } };
  }
}
