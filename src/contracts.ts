/**
 * The promises that the parts make to the two loops in `gateway.ts`. Interfaces only.
 *
 * Source: broker to gateway. Spool: the log on disk. Router: message to rows. Sink: rows to database.
 */
import type { HourSpan } from "./hourly.ts";
import type { Address, Arrival, Batch, DeadLetter, Delivery, Row, TableDesign } from "./message.ts";

/** The broker's side. Connects, subscribes and reconnects by itself, for ever. */
export interface Source extends AsyncDisposable {
  /**
   * Everything that came since the last pull, in the order of the wire, never empty. Yields as soon as `linger`
   * has passed for the oldest of them, at once when the receive window is full or 64 KiB wait. Ends when `signal`
   * is aborted. Memory is bounded: past the bound the socket is not read.
   */
  arrivals(signal: AbortSignal): AsyncIterable<readonly Arrival[]>;
  /**
   * Sends PUBACK, PUBREC or PUBCOMP for these, in order. Call it only when they are durable. Those of an earlier
   * connection are dropped silently: the broker will send their messages again.
   */
  acknowledge(arrivals: readonly Arrival[]): void;
  /** Makes the broker's subscriptions of this session equal to `filters`: subscribes what is new, unsubscribes what is gone. */
  subscribe(filters: readonly string[]): void;
}

/** What `append` did with the arrivals; the sums of all calls are the gateway's totals. */
export interface Appended {
  readonly received: number;
  readonly duplicate: number;
  readonly unrouted: number;
  readonly routed: number;
  readonly deliveries: number;
  readonly dropped: number;
}

/** How a batch ended. `dead` and the counts are kept in the same transaction that forgets the batch. */
export interface Outcome {
  /** Deliveries whose rows are committed. */
  readonly stored: number;
  /** Deliveries that the route's filters left out. */
  readonly filtered: number;
  /** Rows committed. */
  readonly rows: number;
  /** Deliveries that could not be decoded. Those the database refused were parked before. Keyed by (lane, sequence): repeating one is harmless. */
  readonly dead: readonly DeadLetter[];
  /** What the filters remember from now on: key and value, `null` to forget a key. */
  readonly memory?: MemoryChanges;
}

/** The log on disk. What `append` has promised survives `kill -9` and, with an honest disk, power loss. */
export interface Spool extends AsyncDisposable {
  /** UUID of this log: the key of its ledger rows, but for lanes that were renewed (`Batch.spool` tells). */
  readonly identity: string;
  /** The highest sequence that had been given out when the spool was opened: no ledger of this identity can honestly be beyond it before this process has written. */
  readonly highestAtOpen: number;
  /** Every lane that was ever appended to and has not been removed. `onLane` (an option) tells of new ones. */
  readonly lanes: readonly string[];
  /**
   * Resolves when all arrivals are fsynced, in one transaction: publishes that are no duplicates in the lanes that
   * `address` gives, packet ids remembered or released. While the spool is full it waits (`onFull: "block"`) and
   * rejects only when `signal` is aborted. One call at a time.
   */
  append(
    arrivals: readonly Arrival[],
    address: (topic: string) => readonly Address[],
    signal?: AbortSignal,
  ): Promise<Appended>;
  /**
   * The lane's waiting deliveries, oldest first, each batch exactly once, the next one only after the one before was
   * settled; waits for more when there are none. Ends when `signal` is aborted. Starts after the last settled sequence.
   */
  batches(lane: string, signal: AbortSignal): AsyncIterable<Batch>;
  /** Forgets the batch (its entries stay on disk for a grace period) and counts its outcome. May become durable a second later: the ledger makes the repetition harmless. */
  settle(batch: Batch, outcome: Outcome): Promise<void>;
  /** Keeps dead letters, fsynced when it resolves. Idempotent by (lane, sequence). Called before the transaction that skips their rows commits. Throws `StallError` where there is no room for them. */
  park(letters: readonly DeadLetter[]): Promise<void>;
  /** The sequence after which everything of the lane is still on disk, settled or not: how far back `rewind` can go. */
  keptAfter(lane: string): Promise<number>;
  /**
   * The database lost commits: takes back everything of the lane after `upto` that is still on disk. The next batch
   * of `batches(lane)` begins there. Returns the sequence after which it really begins: above `upto` where the
   * grace period has passed for some.
   */
  rewind(lane: string, upto: number): Promise<number>;
  /**
   * The database is ahead of this lane (an old copy of the log was put back, or a copy is in use elsewhere): settles
   * everything up to `upto` as stored, and goes on under a new identity, which it returns. Other lanes are not touched:
   * each has a ledger row of its own to tell. The caller never gives more than `highestAtOpen`.
   */
  renew(lane: string, upto: number): Promise<string>;
  /** What the filters remembered at the last settle. */
  memory(): Promise<ReadonlyMap<string, string>>;
  /** A sign of life: resolves when the log answers. */
  ping(): Promise<void>;
  readonly stats: SpoolStats;
}

/** A picture of the spool, at most a second old. */
export interface SpoolStats {
  readonly bytes: number;
  /** The log beside the file: SQLite writes it back into the file when nobody reads it. */
  readonly logBytes: number;
  readonly bytesMax: number;
  /** Waiting deliveries over all lanes. */
  readonly entries: number;
  readonly totals: Totals;
  readonly lanes: Readonly<
    Record<string, { readonly pending: number; readonly oldestReceivedAtMs: number | null }>
  >;
  readonly deadLetters: number;
  /** True while `append` waits for space. */
  readonly full: boolean;
  /** Bytes written to disk since the spool was opened. */
  readonly bytesWritten: number;
}

/**
 * Counted since the spool was made. `received = duplicate + unrouted + routed`,
 * `deliveries = stored + filtered + dead + dropped + pending`.
 */
export interface Totals {
  readonly received: number;
  readonly duplicate: number;
  readonly unrouted: number;
  readonly routed: number;
  readonly deliveries: number;
  readonly stored: number;
  readonly filtered: number;
  readonly dead: number;
  readonly dropped: number;
  readonly pending: number;
  readonly rows: number;
}

/** Changes of what is remembered: key and value, `null` to forget a key. */
export type MemoryChanges = readonly (readonly [key: string, value: string | null])[];

/** A table whose rows grow old or are summed up by the hour. */
export interface KeptTable {
  readonly table: string;
  readonly design: TableDesign;
}

/** What the routes make of deliveries. */
export interface Decoded {
  readonly rows: readonly Row[];
  readonly dead: readonly DeadLetter[];
  readonly filtered: number;
  readonly memory: MemoryChanges;
}

export interface Router {
  /** Topic filters to subscribe to: no two of them match one topic. */
  readonly filters: readonly string[];
  /** The addresses of a topic; empty where no route matches. Cheap: the result is cached and shared. */
  address(topic: string): readonly Address[];
  /** Rows for the deliveries of one lane. Pure but for the filters' memory, which moves on only with what is returned. Never throws for a bad payload. */
  decode(lane: string, deliveries: readonly Delivery[]): Decoded;
  /**
   * What is to be remembered of `decoded` now that its rows are committed, but for those of the deliveries that the
   * database refused: a filter must not take them for stored. Call it after the commit, and settle with it at once.
   */
  remember(
    decoded: Decoded,
    refused: { has(sequence: number): boolean; readonly size: number },
  ): MemoryChanges;
  /** The tables that are looked after, of those that there are or may be. */
  readonly kept: readonly KeptTable[];
  /** Hands over the hours of a table that got rows since they were handed over last, in order; they are remembered until `returnHours`. */
  takeHours(table: string): readonly HourSpan[];
  /** Of those that were taken: what was not summed up, and is handed over again next time. */
  returnHours(table: string, hours: readonly HourSpan[]): void;
}

/** A row that the database will not take, alone and for its own sake. */
export interface Refused {
  readonly sequence: number;
  readonly reason: string;
  readonly errno: number;
}

export interface WriteRequest {
  /** Identity of the spool. */
  readonly spool: string;
  readonly lane: string;
  /** What the ledger must say before this write; see `Batch.after`. */
  readonly after: number;
  /** What the ledger says after it. */
  readonly last: number;
  /** The highest that the ledger can honestly say before this write (an earlier try may have committed unseen): beyond it, `LedgerError` "ahead". */
  readonly highest: number;
  /** Take a missing or too low ledger row as it stands, whatever `after` is: what it lacks cannot be given back. @default false */
  readonly adopt?: boolean;
  /** The row that was committed last before these, where it is known: without a ledger row it tells whether rows are missing, too. */
  readonly previous?: Row;
  /** Rows of this lane that come later, not to be written: where nothing is taken, one that would be shows that it is not the table's fault. */
  readonly witnesses?: readonly Row[];
  /** May be empty: then only the ledger moves. Rows of one sequence stand together, in order of sequence. */
  readonly rows: readonly Row[];
  /** Called, and awaited, with the rows that the database refuses, before the transaction that leaves them out commits. */
  readonly park: (refused: readonly Refused[]) => Promise<void>;
}

export interface Written {
  /** Rows committed, now or, for a repeated write, earlier. */
  readonly rows: number;
  /** Deliveries refused in this write: all were parked. */
  readonly refused: number;
}

export interface Maintenance extends KeptTable {
  /** The gateway's wall clock. */
  readonly nowMs: number;
  /** Hours with new rows, beside those after the last one that was summed up. */
  readonly hours: readonly HourSpan[];
}

export interface Maintained {
  /** There is more to do at once: it was only interrupted, so that others have their turn. */
  readonly more: boolean;
  /** Hours that were given and are not summed up yet. */
  readonly hours: readonly HourSpan[];
  /** What the owner of the table should do or know, for example a missing index; null: nothing. */
  readonly advice: string | null;
}

/** The database. Holds no state of a batch: everything it must remember is in the ledger. */
export interface Sink extends AsyncDisposable {
  /**
   * Writes rows and ledger in one transaction, exactly once however often it is called for the same `last`.
   * Throws `BackOffError` (the database is away or busy: call again later), `StallError` (this lane's table is
   * locked, missing, changed or forbidden: call again later, other lanes go on), `LedgerError` (the ledger does not
   * stand where it should), or the signal's reason.
   */
  write(request: WriteRequest, signal: AbortSignal): Promise<Written>;
  /** One cheap round trip. Throws as `write` does. */
  ping(signal: AbortSignal): Promise<void>;
  /**
   * Looks after a table: removes rows that are too old, sums up finished hours. In small steps of their own, for a few
   * seconds at most; harmless when interrupted or repeated. A table that is not there is none of its business. Throws
   * as `write` does.
   */
  maintain?(task: Maintenance, signal: AbortSignal): Promise<Maintained>;
}
