/**
 * How a table is looked after, whatever its database: hours are summed up first, then rows are removed, and nothing is
 * removed that is not summed up. The database does the single steps; this is their order, and when to stop.
 *
 * An hour is summed up when it is over, and as a whole again when rows have come to it since: to do it twice changes
 * nothing. Hours are done in order, so that after a restart it goes on with the last one that is there.
 */
import { sleep, systemClock } from "./clock.ts";
import type { Maintained, Maintenance } from "./contracts.ts";
import { type HourSpan, joinHours, MS_PER_HOUR } from "./hourly.ts";

/** A table with its summary. Hours are counted from 1970 UTC. */
export interface HourlyStore {
  /** The last hour of the summary before this one. */
  lastSummed(before: number): Promise<number | undefined>;
  /** The first hour in [from, to) that has rows. */
  firstWithRows(from: number, to: number): Promise<number | undefined>;
  /**
   * Computes an hour from its rows. What is there is never replaced by less; and not at all unless `complete`, which
   * says that no row of that hour has been removed for its age.
   */
  sumUp(hour: number, complete: boolean): Promise<void>;
}

export interface KeptStore {
  /** Undefined where hours are not summed up. */
  readonly hourly: HourlyStore | undefined;
  /** Removes what is older, as far as it comes; true where there is more. */
  removeBefore(cutoffMs: number): Promise<boolean>;
}

export interface Turn {
  /** True when it is the next table's turn. */
  isOver(): boolean;
  /** Between two steps: as long as the last one took, so that half of the database's time is for others. Throws the signal's reason. */
  pause(): Promise<void>;
}

const TURN_MS = 5_000;
const PAUSE_MS_MIN = 5, PAUSE_MS_MAX = 1_000;

export function openTurn(signal: AbortSignal): Turn {
  const startedAt = systemClock.now();
  let stepAt = startedAt;
  return {
    isOver: () => systemClock.now() - startedAt >= TURN_MS,
    async pause() {
      const tookMs = systemClock.now() - stepAt;
      await sleep(Math.min(PAUSE_MS_MAX, Math.max(PAUSE_MS_MIN, tookMs)), signal);
      stepAt = systemClock.now();
    },
  };
}

/** DATETIME begins with the year 1000. */
const FIRST_HOUR = -8_502_840;

/** Does what there is to do in one turn. */
export async function lookAfter(
  store: KeptStore,
  { design, nowMs, hours }: Maintenance,
  turn: Turn,
): Promise<Pick<Maintained, "more" | "hours">> {
  const cutoffMs = design.retentionMs === undefined ? -Infinity : nowMs - design.retentionMs;
  const end = Math.floor(nowMs / MS_PER_HOUR);
  let left = hours;
  if (store.hourly) {
    const summed = await sumUpHours(store.hourly, hours, { end, cutoffMs, turn });
    if (summed.interrupted) return { more: true, hours: summed.hours };
    left = summed.hours;
  }
  if (cutoffMs === -Infinity) return { more: false, hours: left };
  const summedUpToMs = store.hourly ? end * MS_PER_HOUR : Infinity;
  return { more: await store.removeBefore(Math.min(cutoffMs, summedUpToMs)), hours: left };
}

/** `end`: the hour that is not over yet. */
async function sumUpHours(
  store: HourlyStore,
  given: readonly HourSpan[],
  { end, cutoffMs, turn }: { end: number; cutoffMs: number; turn: Turn },
): Promise<{ hours: readonly HourSpan[]; interrupted: boolean }> {
  const open = { from: await store.lastSummed(end) ?? FIRST_HOUR, to: end };
  const spans = joinHours([...given, open]);
  for (const [i, span] of spans.entries()) {
    const to = Math.min(span.to, end);
    for (let hour = span.from; hour < to; hour++) {
      if (turn.isOver()) {
        return { hours: [{ from: hour, to: span.to }, ...spans.slice(i + 1)], interrupted: true };
      }
      const next = await store.firstWithRows(hour, to);
      if (next === undefined) break;
      hour = next;
      await store.sumUp(hour, hour * MS_PER_HOUR >= cutoffMs);
      await turn.pause();
    }
  }
  const unfinished = spans.filter((it) => it.to > end).map(({ from, to }) => ({
    from: Math.max(from, end),
    to,
  }));
  return { hours: unfinished, interrupted: false };
}
