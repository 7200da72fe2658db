/**
 * The snapshot as Prometheus text (https://prometheus.io/docs/instrumenting/exposition_formats/), the pool's figures
 * named as OpenTelemetry's `db.client.connection.*`.
 */
import type { StatusSnapshot } from "./snapshot.ts";

type Sample = readonly [labels: Readonly<Record<string, string>>, value: number];

export function metricsText(it: StatusSnapshot): string {
  const lines: string[] = [];
  const metric = (name: string, type: "counter" | "gauge", help: string, samples: readonly Sample[]) => {
    lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
    for (const [labels, value] of samples) lines.push(`${name}${labelText(labels)} ${value}`);
  };
  const one = (value: number): Sample[] => [[{}, value]];
  const { pending, ...totals } = it.totals;
  for (const [name, value] of Object.entries(totals)) {
    metric(`sluice_${name}_total`, "counter", `${name}, since the spool was made`, one(value));
  }
  metric("sluice_pending", "gauge", "Deliveries that wait", one(pending));
  metric("sluice_up_seconds", "gauge", "Seconds since the start", one(it.uptime_s));
  metric(
    "sluice_broker_connected",
    "gauge",
    "1 while the broker is connected",
    one(it.broker.connected ? 1 : 0),
  );
  metric(
    "sluice_database_reachable",
    "gauge",
    "1 while the database answers",
    one(it.database.reachable ? 1 : 0),
  );
  metric("sluice_spool_bytes", "gauge", "Size of the spool", one(it.spool.bytes));
  metric("sluice_spool_max_bytes", "gauge", "Limit of the spool", one(it.spool.max_bytes));
  metric(
    "sluice_spool_written_bytes_total",
    "counter",
    "Bytes written to disk since the start",
    one(it.spool.bytes_written),
  );
  const lanes = Object.entries(it.lanes);
  metric(
    "sluice_lane_pending",
    "gauge",
    "Deliveries that wait for a table",
    lanes.map(([lane, { pending }]) => [{ lane }, pending]),
  );
  metric(
    "sluice_lane_lag_seconds",
    "gauge",
    "Age of the oldest delivery that waits",
    lanes.map(([lane, { lag_s }]) => [{ lane }, lag_s]),
  );
  if (it.pool) {
    poolMetrics(it.pool, metric);
  }
  return lines.join("\n") + "\n";
}

function poolMetrics(
  { idle, leased, waiting, connecting, closing, size, totals }: NonNullable<StatusSnapshot["pool"]>,
  metric: (name: string, type: "counter" | "gauge", help: string, samples: readonly Sample[]) => void,
): void {
  const name = (rest: string) => `db_client_connection_${rest}`;
  const counter = (rest: string, help: string, value: number) =>
    metric(name(rest), "counter", help, [[{}, value]]);
  metric(name("count"), "gauge", "Connections by state", [
    [{ state: "idle" }, idle],
    [{ state: "used" }, leased],
    [{ state: "connecting" }, connecting],
    [{ state: "closing" }, closing],
  ]);
  metric(name("max"), "gauge", "Connections that are kept", [[{}, size]]);
  metric(name("pending_requests"), "gauge", "Requests that wait for a connection", [[{}, waiting]]);
  counter("timeouts_total", "Requests that got no connection in time", totals.timedOut);
  counter("acquired_total", "Connections handed out", totals.acquired);
  counter("create_total", "Connections made", totals.opened);
  counter("create_failures_total", "Connections that could not be made", totals.connectFailed);
  counter("create_time_seconds_total", "Time spent making connections", totals.connectMs / 1_000);
  counter("wait_time_seconds_total", "Time spent waiting for a connection", totals.waitedMs / 1_000);
  counter("use_time_seconds_total", "Time that connections were in use", totals.usedMs / 1_000);
  metric(
    name("closed_total"),
    "counter",
    "Connections closed, by reason",
    Object.entries(totals.closed).map(([reason, value]) => [{ reason }, value]),
  );
}

function labelText(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(([name, value]) =>
    `${name}="${value.replace(/[\\"\n]/g, (it) => it === "\n" ? "\\n" : `\\${it}`)}"`
  );
  return pairs.length > 0 ? `{${pairs.join(",")}}` : "";
}
