/**
 * The dead letters as they lie in the spool: kept, counted, limited, taken away. Works inside the open transaction.
 *
 * A letter that is taken away (replayed or dropped) leaves its number behind, without the message, for as long as its
 * delivery lies in the queue: should the database lose commits and the queue be rewound, it is not written after all.
 */
import type { SpoolFile } from "./file.ts";
import type { StoredLetter } from "./stored.ts";

/** How many are kept; past that, or past their share of the spool's size, the oldest go. */
export const LETTERS_MAX = 100_000;
/** What a letter takes besides its payload, roughly. */
const LETTER_BYTES = 256;
/** How many are looked at in one go when the oldest must leave. */
const PAGE = 100;

export class Letters {
  count = 0;
  bytes = 0;
  /** How many were dropped for the limit since the spool was made. */
  dropped = 0;
  /** The oldest had to go, and nobody has made room since. */
  full = false;
  bytesMax = Infinity;
  readonly #file: SpoolFile;
  readonly #keptAfter: (lane: string) => number;
  /** Nothing older can be dropped. */
  #oldest = 0;

  /** `keptAfter` tells after which sequence everything of a lane is still in its queue. */
  constructor(file: SpoolFile, keptAfter: (lane: string) => number) {
    this.#file = file;
    this.#keptAfter = keptAfter;
  }

  /** Reads the numbers anew from what is committed. */
  reload(): void {
    const { n, bytes } = this.#file.get<{ n: number; bytes: number | null }>(
      `SELECT count(*) AS n, sum(length(payload) + ${LETTER_BYTES}) AS bytes FROM dead WHERE gone = 0`,
    )!;
    this.count = n;
    this.bytes = bytes ?? 0;
    this.dropped = Number(
      this.#file.get<{ value: number }>("SELECT value FROM meta WHERE key = 'letters_dropped'")?.value ?? 0,
    );
    this.#oldest = 0;
  }

  /** Idempotent by lane and sequence. */
  insert(it: StoredLetter): void {
    const inserted = this.#file.run(
      `INSERT OR IGNORE INTO dead (lane, sequence, route, received_at, topic, payload, qos, retain, reason, errno)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      ...[
        it.lane,
        it.sequence,
        it.route,
        it.receivedAtMs,
        it.topic,
        it.payload,
        it.qos,
        it.retain ? 1 : 0,
        it.reason,
        it.errno,
      ],
    );
    this.count += inserted;
    this.bytes += inserted * (it.payload.length + LETTER_BYTES);
  }

  /** Their deliveries are done with: counts those in (after, upto] that were not counted yet. */
  settle(lane: string, after: number, upto: number): number {
    return this.#file.run(
      "UPDATE dead SET counted = 1 WHERE lane = ? AND sequence > ? AND sequence <= ? AND counted = 0",
      lane,
      after,
      upto,
    );
  }

  /** Their deliveries wait again: takes them out of the count. */
  rewind(lane: string, after: number, upto: number): number {
    return this.#file.run(
      "UPDATE dead SET counted = 0 WHERE lane = ? AND sequence > ? AND sequence <= ? AND counted = 1 AND gone = 0",
      lane,
      after,
      upto,
    );
  }

  /** Their sequences in (after, upto]. */
  between(lane: string, after: number, upto: number): number[] {
    return this.#file.all<{ sequence: number }>(
      "SELECT sequence FROM dead WHERE lane = ? AND sequence > ? AND sequence <= ?",
      ...[lane, after, upto],
    ).map((it) => it.sequence);
  }

  /** Those that only left their number: they do not wait, though their deliveries lie in the queue. */
  gone(lane: string, after: number, upto: number): number {
    return this.#file.get<{ n: number }>(
      "SELECT count(*) AS n FROM dead WHERE lane = ? AND sequence > ? AND sequence <= ? AND gone = 1",
      lane,
      after,
      upto,
    )!.n;
  }

  /** The queue has lost its frames in (after, upto]: the numbers that letters left behind have no use any more. */
  forget(lane: string, after: number, upto: number): void {
    this.#file.run(
      "DELETE FROM dead WHERE lane = ? AND sequence > ? AND sequence <= ? AND gone = 1",
      lane,
      after,
      upto,
    );
  }

  /** Takes a letter away and returns it; undefined where it is not there, or its batch is not done with. */
  take(id: number): StoredLetter | undefined {
    const row = this.#file.get<Omit<StoredLetter, "retain"> & { retain: number }>(
      `SELECT lane, sequence, route, received_at AS receivedAtMs, topic, payload, qos, retain, reason, errno
       FROM dead WHERE id = ? AND counted = 1 AND gone = 0`,
      id,
    );
    if (!row) return undefined;
    this.#remove(id, row, row.payload.length);
    this.full = false;
    return { ...row, retain: row.retain === 1 };
  }

  #remove(
    id: number,
    { lane, sequence }: Pick<StoredLetter, "lane" | "sequence">,
    payloadBytes: number,
  ): void {
    if (sequence <= this.#keptAfter(lane)) this.#file.run("DELETE FROM dead WHERE id = ?", id);
    else this.#file.run("UPDATE dead SET gone = 1, payload = x'' WHERE id = ?", id);
    this.count--;
    this.bytes -= payloadBytes + LETTER_BYTES;
  }

  /** Drops the oldest where there are too many. */
  limit(): void {
    const before = this.dropped;
    while (this.count > LETTERS_MAX || this.bytes > this.bytesMax) {
      const page = this.#file.all<{ id: number; lane: string; sequence: number; bytes: number }>(
        `SELECT id, lane, sequence, length(payload) AS bytes FROM dead
         WHERE id > ? AND counted = 1 AND gone = 0 ORDER BY id LIMIT ${PAGE}`,
        this.#oldest,
      );
      if (page.length === 0) break;
      for (const it of page) {
        if (this.count <= LETTERS_MAX && this.bytes <= this.bytesMax) break;
        this.#remove(it.id, it, it.bytes);
        this.#oldest = it.id;
        this.dropped++;
      }
    }
    if (this.dropped === before) return;
    this.full = true;
    this.#file.run("INSERT OR REPLACE INTO meta (key, value) VALUES ('letters_dropped', ?)", this.dropped);
  }
}
