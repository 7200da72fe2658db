/**
 * The pool's figures under the names of OpenTelemetry's semantic conventions for `db.client.connection.*`, as its
 * exporters write them for Prometheus: dots become underscores, the unit and `_total` are appended.
 *
 * Times are sums and counts without buckets, from which an average over any span of time can be had. What the
 * conventions have no name for (connections being made and closed, why they were closed) stands beside it.
 */
import type { PoolPicture } from "./pool_picture.ts";

/** The third is what the name of a summary's sample ends with. */
export type Sample = readonly [labels: Readonly<Record<string, string>>, value: number, part?: string];

/** Writes one metric with its samples. */
export type Metric = (
  name: string,
  type: "counter" | "gauge" | "summary",
  help: string,
  samples: readonly Sample[],
) => void;

/** `name` is unique in this process: host:port/database. */
export function poolMetrics(
  { idle, leased, waiting, connecting, closing, size, limit, totals }: PoolPicture,
  name: string,
  metric: Metric,
): void {
  const pool = { db_client_connection_pool_name: name };
  const named = (rest: string) => `db_client_connection_${rest}`;
  const gauge = (rest: string, help: string, value: number) =>
    metric(named(rest), "gauge", help, [[pool, value]]);
  const counter = (rest: string, help: string, value: number) =>
    metric(named(rest), "counter", help, [[pool, value]]);
  const time = (rest: string, help: string, sum: number, count: number) =>
    metric(named(rest), "summary", help, [[pool, sum, "_sum"], [pool, count, "_count"]]);
  const inState = (state: string, value: number): Sample => [
    { ...pool, db_client_connection_state: state },
    value,
  ];
  metric(named("count"), "gauge", "Connections by state", [
    inState("idle", idle),
    inState("used", leased),
    inState("connecting", connecting),
    inState("closing", closing),
  ]);
  gauge("idle_max", "Idle connections that are kept", size);
  gauge("idle_min", "Idle connections that are opened in advance", 0);
  if (limit !== null) gauge("max", "Connections at most", limit);
  gauge("pending_requests", "Requests that wait for a connection", waiting);
  counter("timeouts_total", "Requests that got no connection in time", totals.timed_out);
  time("create_time_seconds", "Time to make a connection", totals.connect_s, totals.opened);
  time("wait_time_seconds", "Time to get a connection", totals.waited_s, totals.acquired);
  time(
    "use_time_seconds",
    "Time between taking a connection and returning it",
    totals.used_s,
    totals.released,
  );
  counter("aborted_total", "Requests that were given up by those who made them", totals.aborted);
  counter("create_failures_total", "Connections that could not be made", totals.connect_failed);
  metric(
    named("closed_total"),
    "counter",
    "Connections closed, by reason",
    Object.entries(totals.closed).map(([reason, value]) => [{ ...pool, reason }, value]),
  );
}
