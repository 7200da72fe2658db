/**
 * What is seen from outside, gathered from the parts: the snapshot of the status page.
 */
import { systemClock } from "../clock.ts";
import type { Config } from "../config/schema.ts";
import type { SpoolStats } from "../contracts.ts";
import type { Faults } from "../faults.ts";
import type { Gateway } from "../gateway.ts";
import type { SourceStats } from "../mqtt/source.ts";
import { poolPicture } from "../status/pool_picture.ts";
import type { RecentEntry, StatusSnapshot } from "../status/snapshot.ts";
import { databaseName, type OpenSink } from "./parts.ts";
import type { RecentMessage } from "./recent.ts";

export interface ReportParts {
  readonly config: Config;
  readonly version: string;
  readonly uptimeS: number;
  readonly stopping: boolean;
  readonly faults: Faults;
  readonly gateway: Gateway;
  readonly spool: SpoolStats;
  readonly source: SourceStats;
  readonly sink: OpenSink;
}

export function snapshotOf(parts: ReportParts): StatusSnapshot {
  const { config, faults, gateway, spool, source, sink } = parts;
  const sentence = faults.sentence;
  const { reachable } = gateway.availability;
  const starting = parts.uptimeS < 30 && source.connects === 0 && !sentence;
  return {
    name: config.name,
    version: parts.version,
    uptime_s: Math.round(parts.uptimeS * 10) / 10,
    state: parts.stopping ? "stopping" : sentence ? "degraded" : starting ? "starting" : "ok",
    sentence,
    totals: spool.totals,
    lanes: lanesOf(gateway, spool),
    broker: {
      connected: source.connected,
      url: URL.parse(config.broker.url)?.host ?? "",
      error: source.lastError?.message ?? null,
      dropped: source.brokerDropped ?? null,
      refused: source.refused.map(({ filter }) => filter),
    },
    database: { reachable, address: databaseName(config.database.url) },
    pool: sink.pool ? poolPicture(sink.pool) : null,
    spool: {
      bytes: spool.bytes,
      log_bytes: spool.logBytes,
      entries: spool.entries,
      max_bytes: spool.bytesMax,
      full: spool.full,
      dead_letters: spool.deadLetters,
      bytes_written: spool.bytesWritten,
    },
    faults: faults.current.map(({ key, sentence, sinceMs }) => ({ key, sentence, since: isoTime(sinceMs) })),
    messages: gateway.recent.messages.map(entryOf),
    dead_letters: gateway.recent.deadLetters.map((it) => ({ ...entryOf(it), reason: it.reason })),
  };
}

function lanesOf(gateway: Gateway, spool: SpoolStats): StatusSnapshot["lanes"] {
  const now = systemClock.wallMs();
  return Object.fromEntries(
    Object.entries(spool.lanes).map(([name, { pending, oldestReceivedAtMs }]) => {
      const lane = gateway.lanes.get(name);
      const lag = pending === 0 || oldestReceivedAtMs === null
        ? 0
        : Math.max(0, (now - oldestReceivedAtMs) / 1_000);
      return [name, {
        pending,
        state: lane?.state ?? "ok",
        reason: lane?.reason ?? null,
        lag_s: Math.round(lag * 10) / 10,
      }];
    }),
  );
}

const decoder = new TextDecoder("utf-8", { fatal: true });

function entryOf({ receivedAtMs, topic, payload, qos, lane, cut }: RecentMessage): RecentEntry {
  let text: string;
  try {
    text = decoder.decode(payload, { stream: false });
  } catch {
    text = Array.from(
      payload.subarray(0, 60),
      (byte) =>
        byte >= 32 && byte < 127 ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, "0")}`,
    ).join("");
  }
  return { received_at: isoTime(receivedAtMs), topic, payload: text + (cut ? " …" : ""), qos, table: lane };
}

function isoTime(ms: number): string {
  // deno-lint-ignore no-explicit-any -- Temporal's types are not in every lib
  return (globalThis as any).Temporal?.Instant.fromEpochMilliseconds(Math.round(ms)).toString() ?? String(ms);
}
