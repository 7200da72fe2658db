/**
 * What the status page and its neighbours show: plain data, made anew for each request.
 */
import type { Totals } from "../contracts.ts";
import type { PoolPicture } from "./pool_picture.ts";

export interface StatusSnapshot {
  readonly name: string;
  readonly version: string;
  readonly uptime_s: number;
  readonly state: "ok" | "degraded" | "starting" | "stopping";
  /** What is wrong right now, in one sentence. */
  readonly sentence: string | null;
  readonly totals: Totals;
  readonly lanes: Readonly<
    Record<string, { pending: number; state: string; reason: string | null; lag_s: number }>
  >;
  readonly broker: {
    connected: boolean;
    url: string;
    error: string | null;
    /** Messages that the broker has thrown away, for any of its clients, since the gateway was started; null: it does not say. */
    dropped: number | null;
    /** Topic filters that the broker does not let the gateway subscribe to: their messages do not come. */
    refused: readonly string[];
  };
  readonly database: { reachable: boolean; address: string };
  readonly pool: PoolPicture | null;
  readonly spool: {
    bytes: number;
    /** Of the write-ahead log beside it. */
    log_bytes: number;
    entries: number;
    max_bytes: number;
    full: boolean;
    dead_letters: number;
    bytes_written: number;
  };
  readonly faults: readonly { key: string; sentence: string; since: string }[];
  readonly messages: readonly RecentEntry[];
  readonly dead_letters: readonly (RecentEntry & { reason: string })[];
}

export interface RecentEntry {
  readonly received_at: string;
  readonly topic: string;
  /** The beginning of the payload; bytes that are no text are shown as \xNN. */
  readonly payload: string;
  readonly qos: number;
  readonly table: string;
}
