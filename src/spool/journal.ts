/**
 * The small numbers that change with every commit, as one row for each commit: the totals, the highest sequence, the
 * receipts, and where those lanes stand that have moved. A row is a page to be written; in tables of their own the same
 * numbers would be a page each.
 *
 * Every so often the rows are summed up: the lanes' numbers in `lane`, everything else in one row. A lane that was only
 * appended to is not mentioned until then; what it got since is counted in its queue.
 */
import { crc32 } from "node:zlib";
import { DamageError, type SpoolFile } from "./file.ts";
import { Receipts } from "./receipts.ts";
import { type LaneState, noCounts, TOTAL_NAMES, type TotalCounts } from "./stored.ts";

/** Written since the rows were summed up last. */
const BYTES_MAX = 160 * 1024;
/** Of a row besides its receipts and lanes, roughly. */
const ROW_BYTES = 64;

/** As it is written down of a lane that has moved. */
export type Position = readonly [
  id: number,
  settled: number,
  written: number,
  kept: number,
  counted: number,
  waiting: number,
];

type JournalRow = {
  readonly receipts: Uint8Array | null;
  readonly lanes: string | null;
  readonly highest: number;
  readonly crc: number;
} & TotalCounts;

const TOTALS = TOTAL_NAMES.map((name) => `"${name}"`).join(", ");
const INSERT = `INSERT INTO journal (receipts, lanes, highest, ${TOTALS}, crc) VALUES (?, ?, ?, ${
  TOTAL_NAMES.map(() => "?").join(", ")
}, ?)`;

/** False where a row of the journal is not what was written. */
export function isWholeRow(row: Readonly<Record<string, unknown>>): boolean {
  const it = row as JournalRow;
  if (it.receipts !== null && !(it.receipts instanceof Uint8Array)) return false;
  return it.crc === checksum(it.receipts, it.lanes, it.highest, it);
}

function checksum(
  receipts: Uint8Array | null,
  lanes: string | null,
  highest: number,
  totals: TotalCounts,
): number {
  return crc32(
    receipts ?? "",
    crc32(JSON.stringify([lanes, highest, ...TOTAL_NAMES.map((it) => totals[it])])),
  );
}

export class Journal {
  readonly #file: SpoolFile;
  receipts = new Receipts();
  totals = noCounts();
  /** The highest sequence that was given out. */
  highest = 0;
  #bytes = 0;
  /** What has changed since the last row: the lanes that moved, and whether there is anything to write. */
  readonly #moved = new Set<LaneState>();
  #changed = false;
  /** Lanes whose own row is out of date. */
  readonly #stale = new Set<LaneState>();

  constructor(file: SpoolFile) {
    this.#file = file;
  }

  /** Reads everything anew from what is committed. Gives the lanes' last positions by their numbers. */
  load(): ReadonlyMap<number, Position> {
    this.receipts = new Receipts();
    this.totals = noCounts();
    this.highest = 0;
    this.#bytes = 0;
    this.#moved.clear();
    this.#stale.clear();
    this.#changed = false;
    for (
      const row of this.#file.iterate<JournalRow>(
        `SELECT receipts, lanes, highest, ${TOTALS}, crc FROM journal ORDER BY id`,
      )
    ) {
      if (!isWholeRow(row)) throw new DamageError("its journal is damaged");
      const { receipts, lanes, highest, crc: _, ...totals } = row;
      if (receipts) this.receipts.replay(receipts);
      this.#bytes += ROW_BYTES + (receipts?.length ?? 0) + (lanes?.length ?? 0);
      this.highest = highest;
      this.totals = totals;
    }
    return positionsIn(this.#file);
  }

  /** The lane's own row does not say where it stands: it must be written before the journal's rows may go. */
  outdated(lane: LaneState): void {
    this.#stale.add(lane);
  }

  /** The lane has got more. */
  grew(lane: LaneState): void {
    this.#changed = true;
    this.#stale.add(lane);
  }

  /** The lane stands elsewhere: that will be in the next row. */
  moved(lane: LaneState): void {
    this.grew(lane);
    this.#moved.add(lane);
  }

  /** The totals have changed. */
  counted(): void {
    this.#changed = true;
  }

  /** Writes the row for what has changed, inside the open transaction. */
  write(): void {
    const receipts = this.receipts.takeJournal();
    if (!this.#changed && receipts.length === 0) return;
    const positions = [...this.#moved].map((it) => this.#positionOf(it));
    this.#insert(receipts, positions.length > 0 ? JSON.stringify(positions) : null);
    this.#moved.clear();
    this.#changed = false;
    if (this.#bytes > BYTES_MAX) this.sumUp();
  }

  #insert(receipts: Uint8Array, lanes: string | null): void {
    const { highest, totals } = this;
    const bytes = receipts.length > 0 ? receipts : null;
    this.#file.run(
      INSERT,
      ...[bytes, lanes, highest],
      ...TOTAL_NAMES.map((name) => totals[name]),
      checksum(bytes, lanes, highest, totals),
    );
    this.#bytes += ROW_BYTES + receipts.length + (lanes?.length ?? 0);
  }

  /** Makes one row of all, inside the open transaction. */
  sumUp(): void {
    for (const lane of this.#stale) this.#saveLane(lane);
    this.#stale.clear();
    this.#file.run("DELETE FROM journal");
    this.#insert(this.receipts.picture(), null);
    this.#bytes = 0;
  }

  #saveLane(lane: LaneState): void {
    const [id, ...numbers] = this.#positionOf(lane);
    this.#file.run(
      "UPDATE lane SET settled = ?, written = ?, kept = ?, counted = ?, waiting = ? WHERE id = ?",
      ...numbers,
      id,
    );
  }

  #positionOf({ id, settled, written, kept, pending }: LaneState): Position {
    return [id, settled, written, kept, this.highest, pending];
  }
}

/** The lanes' positions in the journal, where they are in it, by the lanes' numbers. */
export function positionsIn(file: Pick<SpoolFile, "all">): ReadonlyMap<number, Position> {
  const rows = file.all<{ lanes: string }>("SELECT lanes FROM journal WHERE lanes IS NOT NULL ORDER BY id");
  return new Map(
    rows.flatMap(({ lanes }) => (JSON.parse(lanes) as Position[]).map((it) => [it[0], it] as const)),
  );
}
