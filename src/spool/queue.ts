/**
 * The frames of one lane on disk, a table of its own, in the order of their sequences.
 *
 * A frame holds what one append brought for the lane, up to 256 KiB: `count` deliveries from sequence `first` on.
 * Works inside the open transaction. Whatever it does costs the same however many frames wait, but for `count`, which
 * reads those that it counts.
 */
import { DamageError, type SpoolFile } from "./file.ts";
import { checksum, pack } from "./frame.ts";
import type { Frame } from "./stored.ts";

const COLUMNS = "first, count, crc, size, data";

/** `size`: bytes of `data` when it is unpacked, or null where it is not packed. */
export function createQueue(file: SpoolFile, id: number): void {
  file.exec(
    `CREATE TABLE IF NOT EXISTS queue_${id} (first INTEGER PRIMARY KEY, count INTEGER, crc INTEGER, size INTEGER, data BLOB)`,
  );
}

/** Throws `DamageError` where the frame is not what was written. */
export function assertWhole(frame: Frame, lane: string): void {
  if (checksum(frame) === frame.crc) return;
  const { first, count } = frame;
  throw new DamageError(`messages ${first} to ${first + count - 1} of ${lane} are damaged`);
}

export class Queue {
  readonly #file: SpoolFile;
  readonly #table: string;

  constructor(file: SpoolFile, id: number) {
    this.#file = file;
    this.#table = `queue_${id}`;
  }

  put(first: number, count: number, bytes: Uint8Array): void {
    const { size, data } = pack(bytes);
    this.#file.run(
      `INSERT INTO ${this.#table} (${COLUMNS}) VALUES (?, ?, ?, ?, ?)`,
      ...[first, count, checksum({ first, count, size, data }), size, data],
    );
  }

  /** The frames that end after `sequence`, oldest first, `max` at most. */
  *after(sequence: number, max: number): Generator<Frame> {
    const partial = this.#file.get<Frame>(
      `SELECT ${COLUMNS} FROM ${this.#table} WHERE first <= ? ORDER BY first DESC LIMIT 1`,
      sequence,
    );
    if (partial && partial.first + partial.count - 1 > sequence) yield partial;
    yield* this.#file.iterate<Frame>(
      `SELECT ${COLUMNS} FROM ${this.#table} WHERE first > ? ORDER BY first LIMIT ?`,
      ...[sequence, max],
    );
  }

  /** Deliveries with a sequence in (after, upto]. */
  count(after: number, upto: number): number {
    if (upto <= after) return 0;
    const { n } = this.#file.get<{ n: number | null }>(
      `SELECT sum(count) AS n FROM ${this.#table} WHERE first > ? AND first <= ?`,
      ...[after, upto],
    )!;
    // The frames at both ends may lie across them.
    return (n ?? 0) + this.#beyond(after) - this.#beyond(upto);
  }

  /** Deliveries after `sequence` in the frame that begins at or before it. */
  #beyond(sequence: number): number {
    const frame = this.#file.get<{ first: number; count: number }>(
      `SELECT first, count FROM ${this.#table} WHERE first <= ? ORDER BY first DESC LIMIT 1`,
      sequence,
    );
    return frame ? Math.max(0, frame.first + frame.count - 1 - sequence) : 0;
  }

  /** The oldest frame that begins after `sequence`, without its deliveries. */
  headAfter(
    sequence: number,
  ): { readonly first: number; readonly count: number; readonly bytes: number } | undefined {
    return this.#file.get(
      `SELECT first, count, length(data) AS bytes FROM ${this.#table} WHERE first > ? ORDER BY first LIMIT 1`,
      sequence,
    );
  }

  delete(first: number): void {
    this.#file.run(`DELETE FROM ${this.#table} WHERE first = ?`, first);
  }

  /** Deletes frames that end at or before `upto`, oldest first, `max` at most. Returns how many. */
  deleteUpto(upto: number, max: number): number {
    const doomed =
      `SELECT first FROM ${this.#table} WHERE first <= ?1 AND first + count - 1 <= ?1 ORDER BY first LIMIT ?2`;
    return this.#file.run(`DELETE FROM ${this.#table} WHERE first IN (${doomed})`, upto, max);
  }
}
