/**
 * The snapshot as Prometheus text (https://prometheus.io/docs/instrumenting/exposition_formats/).
 */
import { type Metric, poolMetrics, type Sample } from "./pool_metrics.ts";
import type { StatusSnapshot } from "./snapshot.ts";

export function metricsText(it: StatusSnapshot): string {
  const lines: string[] = [];
  const metric: Metric = (name, type, help, samples) => {
    lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
    for (const [labels, value, part = ""] of samples) {
      lines.push(`${name}${part}${labelText(labels)} ${value}`);
    }
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
  if (it.pool) poolMetrics(it.pool, it.database.address, metric);
  return lines.join("\n") + "\n";
}

function labelText(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(([name, value]) =>
    `${name}="${value.replace(/[\\"\n]/g, (it) => it === "\n" ? "\\n" : `\\${it}`)}"`
  );
  return pairs.length > 0 ? `{${pairs.join(",")}}` : "";
}
