/**
 * The nouns of the spool's thread: counts, lanes, frames and letters as they lie on disk. Plain data.
 */
import type { FrameWriter } from "./frame.ts";
import type { Queue } from "./queue.ts";

export const TOTAL_NAMES = [
  ...["received", "duplicate", "unrouted", "routed", "deliveries"],
  ...["stored", "filtered", "dead", "dropped", "rows"],
] as const;
export type TotalName =
  | "received"
  | "duplicate"
  | "unrouted"
  | "routed"
  | "deliveries"
  | "stored"
  | "filtered"
  | "dead"
  | "dropped"
  | "rows";
export type TotalCounts = Record<TotalName, number>;

export const noCounts = (): TotalCounts =>
  Object.fromEntries(TOTAL_NAMES.map((name) => [name, 0])) as TotalCounts;

export interface LaneState {
  readonly id: number;
  readonly name: string;
  /** The spool's, or one of its own. */
  identity: string;
  /** Up to here everything is done with. */
  settled: number;
  /** What the ledger says, as far as this side knows. */
  written: number;
  /** Everything after it is on disk. */
  kept: number;
  pending: number;
  /** When the oldest waiting delivery, as far as it was looked at, had arrived. */
  oldestReceivedAtMs: number | null;
  /** Settled but on disk: up to which sequence, until when on the monotonic clock. */
  grace: { upto: number; untilMs: number }[];
  readonly queue: Queue;
  readonly writer: FrameWriter;
  /** The batch that was read and is not settled: where it begins, and its last sequence. */
  inHand?: { readonly after: number; readonly last: number };
}

export interface StoredLetter {
  readonly lane: string;
  readonly sequence: number;
  readonly route: string;
  readonly receivedAtMs: number;
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: number;
  readonly retain: boolean;
  readonly reason: string;
  readonly errno: number | null;
}

/** Where a dead letter shall go now. */
export interface Move extends Numbered {
  readonly id: number;
}

export interface Frame {
  readonly first: number;
  readonly count: number;
  readonly crc: number;
  /** Bytes of `data` when it is unpacked; null where it is not packed. */
  readonly size: number | null;
  readonly data: Uint8Array;
}

/** Frames one behind the other: what `read` gives. */
export interface Frames {
  readonly parts: readonly Frame[];
  /** Whose ledger. */
  readonly identity: string;
  /** What the ledger must say before they are written. */
  readonly after: number;
  /** Deliveries up to here are settled already. */
  readonly settled: number;
  readonly last: number;
  readonly parked: readonly number[];
}

export interface Numbered {
  readonly lane: string;
  readonly route: string;
}
