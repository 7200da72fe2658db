/**
 * The pool as data for the status page and its neighbours: its counts, its counters, and each connection. Keys are
 * snake_case with the unit last, as everywhere in /status.json.
 */
import type { CloseReason, ConnectionPool, ConnectionState } from "../pool/mod.ts";

export interface PoolPicture {
  /** Connections that are kept. */
  readonly size: number;
  /** Sockets at most; null: no limit. */
  readonly limit: number | null;
  readonly idle: number;
  readonly leased: number;
  readonly connecting: number;
  readonly closing: number;
  readonly waiting: number;
  /** Connections beyond `size`. */
  readonly overflow: number;
  /** Grows with each outage and failover; older connections are not used again. */
  readonly generation: number;
  /** Since the start. */
  readonly totals: {
    readonly acquired: number;
    readonly released: number;
    readonly timed_out: number;
    readonly aborted: number;
    readonly waited_s: number;
    readonly opened: number;
    readonly connect_failed: number;
    readonly connect_s: number;
    readonly used_s: number;
    readonly closed: Readonly<Record<CloseReason, number>>;
  };
  readonly connections: readonly ConnectionPicture[];
}

export interface ConnectionPicture {
  /** The server's thread id. */
  readonly id: number | string | null;
  /** host:port */
  readonly server: string | null;
  readonly state: ConnectionState["state"];
  readonly age_s: number;
  /** Since it was given back; null where it is in use. */
  readonly idle_s: number | null;
  readonly uses: number;
  /** Below 0 where it is due and still in use; null: never. */
  readonly recycle_in_s: number | null;
}

export function poolPicture(
  { stats, limit, connections }: Pick<ConnectionPool<unknown>, "stats" | "limit" | "connections">,
): PoolPicture {
  const { totals, ...counts } = stats;
  const {
    acquired,
    released,
    timedOut,
    aborted,
    waitedMs,
    opened,
    connectFailed,
    connectMs,
    usedMs,
    closed,
  } = totals;
  return {
    ...counts,
    limit: limit === Infinity ? null : limit,
    totals: {
      acquired,
      released,
      timed_out: timedOut,
      aborted,
      waited_s: seconds(waitedMs),
      opened,
      connect_failed: connectFailed,
      connect_s: seconds(connectMs),
      used_s: seconds(usedMs),
      closed,
    },
    connections: connections.map(connectionPicture),
  };
}

function connectionPicture(
  { id, server, state, ageMs, idleMs, uses, recycleInMs }: ConnectionState,
): ConnectionPicture {
  return {
    id: id ?? null,
    server: server ?? null,
    state,
    age_s: seconds(ageMs),
    idle_s: state === "idle" ? seconds(idleMs) : null,
    uses,
    recycle_in_s: recycleInMs === null ? null : seconds(recycleInMs),
  };
}

/** To the millisecond. */
function seconds(ms: number): number {
  return Math.round(ms) / 1_000;
}
