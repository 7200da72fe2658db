/**
 * What the spool knows and does, in its own thread: totals, lanes with their queues, receipts, dead letters.
 *
 * What `append` and `park` return from is fsynced; what `settle` says joins the next of them, or `flush`. Numbers in
 * memory are those of the open transaction; after an error `reload` reads them anew from what is committed.
 */
import { systemClock } from "../clock.ts";
import { SpoolFile } from "./file.ts";
import {
  type Frame,
  type Frames,
  type LaneState,
  noCounts,
  type Numbered,
  type StoredLetter,
  type TotalCounts,
  type TotalName,
} from "./stored.ts";
import { checksum, FrameWriter, receivedAtOf, type TransitPublish, visitArrivals } from "./frame.ts";
import { Letters } from "./letters.ts";
import { Receipts, REMEMBERED } from "./receipts.ts";

const FRAME_BYTES_MAX = 256 * 1024;
const FRAME_COUNT_MAX = 1_000;
/** Receipts that are kept on disk: more than `Receipts` looks back. */
const RECEIPTS_KEPT = 3 * REMEMBERED;
/** Frames that one sweep deletes at most, so that an append never waits long for it. */
const SWEEP_FRAMES = 500;

/** A frame whose checksum is wrong. */
export class DamagedFrameError extends Error {}

export class Store {
  readonly file: SpoolFile;
  readonly letters: Letters;
  readonly lanes = new Map<string, LaneState>();
  totals = noCounts();
  identity = "";
  readonly highestAtOpen: number;
  readonly #graceMs: number;
  #routes = new Map<string, number>();
  #receipts = new Receipts();
  #next = 1;

  constructor(path: string, graceMs: number) {
    this.#graceMs = graceMs;
    this.file = new SpoolFile(path);
    this.letters = new Letters(this.file);
    this.reload();
    this.highestAtOpen = this.#next - 1;
  }

  /** Reads everything anew from what is committed. */
  reload(): void {
    const { file } = this;
    file.rollback();
    const meta = new Map(
      file.all<{ key: string; value: string | number }>("SELECT key, value FROM meta").map((
        it,
      ) => [it.key, it.value]),
    );
    this.identity = String(meta.get("identity"));
    this.totals = { ...noCounts(), ...JSON.parse(String(meta.get("totals") ?? "{}")) };
    this.#next = Number(meta.get("highest") ?? 0) + 1;
    this.#routes = new Map(
      file.all<{ id: number; name: string }>("SELECT id, name FROM route").map((it) => [it.name, it.id]),
    );
    this.lanes.clear();
    for (
      const row of file.all<Omit<LaneState, "pending" | "oldestReceivedAtMs" | "grace" | "writer">>(
        "SELECT * FROM lane",
      )
    ) {
      const lane: LaneState = {
        ...row,
        pending: 0,
        oldestReceivedAtMs: null,
        grace: [],
        writer: new FrameWriter(),
      };
      lane.pending = this.count(lane, lane.settled, Number.MAX_SAFE_INTEGER) -
        this.letters.gone(lane.name, lane.settled, Number.MAX_SAFE_INTEGER);
      if (lane.settled > lane.kept) this.startGrace(lane);
      this.lanes.set(lane.name, lane);
    }
    this.letters.reload();
    this.#receipts = new Receipts();
    this.#receiptBytes = 0;
    for (
      const { receipts } of file.iterate<{ receipts: Uint8Array }>("SELECT receipts FROM arrival ORDER BY id")
    ) {
      this.#receipts.replay(receipts);
      this.#receiptBytes += receipts.length;
    }
  }

  /** The last sequence that lies in a lane's queue. */
  #endOf(lane: LaneState): number {
    const frame = this.file.get<Frame>(
      `SELECT first, count FROM queue_${lane.id} ORDER BY first DESC LIMIT 1`,
    );
    return frame ? frame.first + frame.count - 1 : 0;
  }

  /** What is settled by now stays on disk for a while. */
  startGrace(lane: LaneState): void {
    lane.grace.push({ upto: lane.settled, untilMs: systemClock.now() + this.#graceMs });
  }

  /** Deliveries of a lane on disk with a sequence in (after, upto]. */
  count(lane: LaneState, after: number, upto: number): number {
    let count = 0;
    const before = this.file.get<Frame>(
      `SELECT first, count FROM queue_${lane.id} WHERE first <= ? ORDER BY first DESC LIMIT 1`,
      after,
    );
    if (before) count += Math.max(0, Math.min(upto, before.first + before.count - 1) - after);
    const whole = this.file.get<{ n: number | null }>(
      `SELECT sum(count) AS n FROM queue_${lane.id} WHERE first > ? AND first + count - 1 <= ?`,
      after,
      upto,
    );
    count += whole?.n ?? 0;
    const cut = this.file.get<Frame>(
      `SELECT first, count FROM queue_${lane.id} WHERE first > ? AND first <= ? AND first + count - 1 > ? LIMIT 1`,
      after,
      upto,
      upto,
    );
    return cut ? count + upto - cut.first + 1 : count;
  }

  lane(name: string): LaneState {
    const known = this.lanes.get(name);
    if (known) return known;
    this.file.run("INSERT INTO lane (name, settled, written, kept) VALUES (?, 0, 0, 0)", name);
    const { id } = this.file.get<{ id: number }>("SELECT id FROM lane WHERE name = ?", name)!;
    this.file.exec(
      `CREATE TABLE queue_${id} (first INTEGER PRIMARY KEY, count INTEGER, crc INTEGER, data BLOB)`,
    );
    const lane: LaneState = {
      id,
      name,
      settled: 0,
      written: 0,
      kept: 0,
      pending: 0,
      oldestReceivedAtMs: null,
      grace: [],
      writer: new FrameWriter(),
    };
    this.lanes.set(name, lane);
    return lane;
  }

  #route(name: string): number {
    const known = this.#routes.get(name);
    if (known !== undefined) return known;
    this.file.run("INSERT INTO route (name, first) VALUES (?, ?)", name, this.#next);
    const { id } = this.file.get<{ id: number }>("SELECT id FROM route WHERE name = ?", name)!;
    this.#routes.set(name, id);
    return id;
  }

  /** Names of routes by their number on disk. */
  routeNames(): Map<number, string> {
    return new Map([...this.#routes].map(([name, id]) => [id, name]));
  }

  /** One fsynced transaction for all arrivals in `buffer`; `addresses[i]` is what address number i means. */
  append(buffer: ArrayBuffer, addresses: readonly Numbered[], dropQos0: boolean): TotalCounts {
    const counts = noCounts();
    this.file.begin();
    this.enqueue(buffer, addresses, counts, dropQos0);
    for (const name of Object.keys(counts) as TotalName[]) this.totals[name] += counts[name];
    const receipts = this.#receipts.takeJournal();
    if (receipts.length > 0) {
      this.file.run("INSERT INTO arrival (receipts) VALUES (?)", receipts);
      this.#pruneReceipts(receipts.length);
    }
    this.saveTotals();
    this.file.commit();
    return counts;
  }

  /** Puts what is in `buffer` into its queues, inside the open transaction. */
  enqueue(buffer: ArrayBuffer, addresses: readonly Numbered[], counts: TotalCounts, dropQos0: boolean): void {
    const numbers = addresses.map(({ lane, route }) => ({
      lane: this.lane(lane),
      route: this.#route(route),
    }));
    const touched = new Set<LaneState>();
    visitArrivals(buffer, {
      publish: (it) => this.#take(it, numbers, counts, touched, dropQos0),
      release: (packetId) => this.#receipts.release(packetId),
      sessionLost: () => this.#receipts.clear(),
    });
    for (const lane of touched) this.#writeFrame(lane);
  }

  #take(
    it: TransitPublish,
    numbers: readonly { lane: LaneState; route: number }[],
    counts: TotalCounts,
    touched: Set<LaneState>,
    dropQos0: boolean,
  ): void {
    counts.received++;
    const qos = it.flags & 3;
    if (qos > 0 && this.#receipts.isDuplicate(it.packetId, qos, (it.flags & 8) !== 0, it.content)) {
      counts.duplicate++;
      return;
    }
    if (it.addresses.length === 0) {
      counts.unrouted++;
      return;
    }
    counts.routed++;
    counts.deliveries += it.addresses.length;
    if (dropQos0 && qos === 0) {
      counts.dropped += it.addresses.length;
      return;
    }
    for (const address of it.addresses) {
      const { lane, route } = numbers[address];
      touched.add(lane);
      this.#put(it, lane, route);
    }
  }

  /** Puts deliveries that are on disk elsewhere behind those of their lanes, inside the open transaction. */
  requeue(deliveries: Iterable<readonly [TransitPublish, Numbered]>): void {
    const touched = new Set<LaneState>();
    for (const [it, { lane: name, route }] of deliveries) {
      const lane = this.lane(name);
      touched.add(lane);
      this.#put(it, lane, this.#route(route));
    }
    for (const lane of touched) this.#writeFrame(lane);
  }

  #put(it: TransitPublish, lane: LaneState, route: number): void {
    if (lane.pending + lane.writer.count === 0) lane.oldestReceivedAtMs = it.receivedAtMs;
    lane.writer.add(it, route);
    if (lane.writer.length >= FRAME_BYTES_MAX || lane.writer.count >= FRAME_COUNT_MAX) this.#writeFrame(lane);
  }

  #writeFrame(lane: LaneState): void {
    const { writer } = lane;
    if (writer.count === 0) return;
    const data = writer.bytes;
    this.file.run(
      `INSERT INTO queue_${lane.id} (first, count, crc, data) VALUES (?, ?, ?, ?)`,
      this.#next,
      writer.count,
      checksum(this.#next, writer.count, data),
      data,
    );
    this.#next += writer.count;
    lane.pending += writer.count;
    writer.clear();
  }

  #receiptBytes = 0;

  /** Every so often, so that it costs nothing each time. What is still open is written down again. */
  #pruneReceipts(bytes: number): void {
    this.#receiptBytes += bytes;
    if (this.#receiptBytes < RECEIPTS_KEPT * 11) return;
    this.#receiptBytes = 0;
    this.file.run("DELETE FROM arrival");
    this.file.run("INSERT INTO arrival (receipts) VALUES (?)", this.#receipts.picture());
  }

  saveTotals(): void {
    this.file.run(
      "INSERT OR REPLACE INTO meta (key, value) VALUES ('totals', ?)",
      JSON.stringify(this.totals),
    );
    this.file.run("INSERT OR REPLACE INTO meta (key, value) VALUES ('highest', ?)", this.#next - 1);
  }

  saveLane(lane: LaneState): void {
    this.file.run(
      "UPDATE lane SET settled = ?, written = ?, kept = ? WHERE id = ?",
      lane.settled,
      lane.written,
      lane.kept,
      lane.id,
    );
  }

  /** The oldest frames that are not settled, up to `countMax` deliveries or `bytesMax` bytes, at least one frame. */
  read(name: string, countMax: number, bytesMax: number): Frames | null {
    const lane = this.lanes.get(name);
    if (!lane || lane.pending === 0) return null;
    const { id, settled, written } = lane;
    const parts: Frame[] = [];
    let count = 0, bytes = 0;
    const take = (frame: Frame) => {
      if (checksum(frame.first, frame.count, frame.data) !== frame.crc) {
        throw new DamagedFrameError(
          `messages ${frame.first} to ${frame.first + frame.count - 1} of ${name} are damaged`,
        );
      }
      parts.push(frame);
      count += frame.count;
      bytes += frame.data.length;
    };
    // A frame that is settled in part begins at or before `settled`.
    const partial = this.file.get<Frame>(
      `SELECT first, count, crc, data FROM queue_${id} WHERE first <= ? ORDER BY first DESC LIMIT 1`,
      settled,
    );
    if (partial && partial.first + partial.count - 1 > settled) take(partial);
    for (
      const frame of this.file.iterate<Frame>(
        `SELECT first, count, crc, data FROM queue_${id} WHERE first > ? ORDER BY first LIMIT 256`,
        settled,
      )
    ) {
      if (parts.length > 0 && (count + frame.count > countMax || bytes + frame.data.length > bytesMax)) break;
      take(frame);
    }
    if (partial === undefined || parts[0] !== partial) lane.oldestReceivedAtMs = receivedAtOf(parts[0].data);
    const { first, count: n } = parts.at(-1)!;
    const last = first + n - 1;
    lane.inHand = settled;
    const parked = this.file.all<{ sequence: number }>(
      "SELECT sequence FROM dead WHERE lane = ? AND sequence > ? AND sequence <= ?",
      name,
      settled,
      last,
    );
    return { parts, after: written, settled, last, parked: parked.map((it) => it.sequence) };
  }

  /**
   * Counts the batch in hand. Where the lane does not stand any more where the batch begins, nothing is done: what had
   * been settled before it was rolled back (a full disk), and all of that is read again; or its oldest were dropped.
   */
  settle(
    name: string,
    last: number,
    outcome: { stored: number; filtered: number; rows: number },
    dead: readonly StoredLetter[],
    memory: readonly (readonly [string, string | null])[],
  ): void {
    const lane = this.lanes.get(name)!;
    if (lane.inHand !== lane.settled) return;
    lane.inHand = undefined;
    this.file.begin();
    for (const letter of dead) this.letters.insert(letter);
    const counted = this.letters.settle(name, lane.settled, last);
    this.letters.limit();
    for (const [key, value] of memory) {
      if (value === null) this.file.run("DELETE FROM memory WHERE key = ?", key);
      else this.file.run("INSERT OR REPLACE INTO memory (key, value) VALUES (?, ?)", key, value);
    }
    this.totals.stored += outcome.stored;
    this.totals.filtered += outcome.filtered;
    this.totals.rows += outcome.rows;
    this.totals.dead += counted;
    lane.pending -= outcome.stored + outcome.filtered + counted;
    lane.settled = lane.written = last;
    this.startGrace(lane);
    this.saveLane(lane);
    this.saveTotals();
    // Who hears of a dead letter wants to see it.
    if (counted > 0) this.file.commit();
  }

  park(letters: readonly StoredLetter[]): void {
    this.file.begin();
    for (const letter of letters) this.letters.insert(letter);
    this.file.commit();
  }

  /** Deletes settled frames whose grace period is over (or all, in need of space), a few at a time. True where more are left. */
  sweep(inNeed: boolean): boolean {
    const now = systemClock.now();
    let left = SWEEP_FRAMES;
    for (const lane of this.lanes.values()) {
      let upto = lane.kept;
      for (const { upto: end, untilMs } of lane.grace) if (inNeed || untilMs <= now) upto = end;
      if (upto <= lane.kept) continue;
      this.file.begin();
      const doomed =
        `SELECT first FROM queue_${lane.id} WHERE first + count - 1 <= ? ORDER BY first LIMIT ${left}`;
      const deleted = this.file.run(`DELETE FROM queue_${lane.id} WHERE first IN (${doomed})`, upto);
      left -= deleted;
      if (left <= 0) return true;
      this.letters.forget(lane.name, lane.kept, upto);
      lane.kept = upto;
      lane.grace = lane.grace.filter((it) => it.upto > upto);
      this.saveLane(lane);
    }
    return false;
  }
}
