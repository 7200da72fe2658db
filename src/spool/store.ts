/**
 * What the spool knows and does, in its own thread: totals, lanes with their queues, receipts, dead letters.
 *
 * What `append` and `park` return from is fsynced; what `settle` says joins the next of them, or `commit`. Numbers in
 * memory are those of the open transaction; after an error `reload` reads them anew from what is committed.
 */
import { systemClock } from "../clock.ts";
import { DamageError, SpoolFile } from "./file.ts";
import { FrameWriter, receivedAtOf, type TransitPublish, visitArrivals } from "./frame.ts";
import { Journal, type Position } from "./journal.ts";
import { Letters } from "./letters.ts";
import { assertWhole, createQueue, Queue } from "./queue.ts";
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

const FRAME_BYTES_MAX = 256 * 1024;
const FRAME_COUNT_MAX = 1_000;
/** Frames that one sweep deletes at most, so that an append never waits long for it. */
const SWEEP_FRAMES = 500;
/** Settled batches whose grace periods end so close to each other are kept until the last of them. */
const GRACE_STEP_MS = 1_000;

/** Beyond every sequence. */
const END = Number.MAX_SAFE_INTEGER;

interface LaneRow {
  readonly id: number;
  readonly name: string;
  readonly identity: string | null;
  readonly settled: number;
  readonly written: number;
  readonly kept: number;
  readonly counted: number;
  readonly waiting: number;
}

export class Store {
  readonly file: SpoolFile;
  readonly letters: Letters;
  readonly journal: Journal;
  readonly lanes = new Map<string, LaneState>();
  /** Lanes whose numbers have changed since they were shown last. */
  readonly changed = new Set<LaneState>();
  identity = "";
  readonly highestAtOpen: number;
  readonly #graceMs: number;
  readonly #routes = new Map<string, number>();
  /** Names of routes that were not yet told to whoever reads. */
  #newRoutes: [id: number, name: string][] = [];

  constructor(path: string, graceMs: number) {
    this.#graceMs = graceMs;
    this.file = new SpoolFile(path);
    try {
      this.letters = new Letters(this.file, (lane) => this.lanes.get(lane)?.kept ?? 0);
      this.journal = new Journal(this.file);
      this.reload();
      this.file.get("SELECT key FROM memory LIMIT 1");
    } catch (error) {
      this.file.close();
      throw error;
    }
    this.highestAtOpen = this.journal.highest;
  }

  get totals(): TotalCounts {
    return this.journal.totals;
  }

  /** Reads everything anew from what is committed. */
  reload(): void {
    const { file, journal } = this;
    file.rollback();
    const identity = file.get<{ value: string }>("SELECT value FROM meta WHERE key = 'identity'")?.value;
    if (!identity) throw new SyntaxError("it has no identity");
    this.identity = identity;
    this.#newRoutes = file.all<{ id: number; name: string }>("SELECT id, name FROM route").map((
      { id, name },
    ) => [id, name]);
    this.#routes.clear();
    for (const [id, name] of this.#newRoutes) this.#routes.set(name, id);
    const positions = journal.load();
    this.lanes.clear();
    this.changed.clear();
    for (const row of file.all<LaneRow>("SELECT * FROM lane")) {
      const position = positions.get(row.id);
      const lane = this.#laneOf(position ? { ...row, ...numbersOf(position) } : row);
      if (position) journal.outdated(lane);
    }
    this.letters.reload();
  }

  #laneOf({ id, name, identity, settled, written, kept, counted, waiting }: LaneRow): LaneState {
    const queue = new Queue(this.file, id);
    if (Math.max(settled, written, kept, counted) > this.journal.highest) {
      throw new TypeError(`of ${name} it says more than it holds`);
    }
    const lane: LaneState = {
      id,
      name,
      identity: identity ?? this.identity,
      settled,
      written,
      kept,
      pending: waiting + queue.count(counted, END) - this.letters.gone(name, counted, END),
      oldestReceivedAtMs: null,
      grace: [],
      queue,
      writer: new FrameWriter(),
    };
    if (settled > kept) this.startGrace(lane);
    this.lanes.set(name, lane);
    this.changed.add(lane);
    return lane;
  }

  /** What is settled by now stays on disk for a while. */
  startGrace(lane: LaneState): void {
    const untilMs = systemClock.now() + this.#graceMs;
    const last = lane.grace.at(-1);
    if (last && untilMs - last.untilMs < Math.min(GRACE_STEP_MS, this.#graceMs)) last.upto = lane.settled;
    else lane.grace.push({ upto: lane.settled, untilMs });
  }

  lane(name: string): LaneState {
    const known = this.lanes.get(name);
    if (known) return known;
    const { file, journal: { highest } } = this;
    file.run(
      "INSERT INTO lane (name, settled, written, kept, counted, waiting) VALUES (?, 0, 0, 0, ?, 0)",
      ...[name, highest],
    );
    const { id } = file.get<{ id: number }>("SELECT id FROM lane WHERE name = ?", name)!;
    createQueue(file, id);
    const none = { settled: 0, written: 0, kept: 0, waiting: 0 };
    return this.#laneOf({ id, name, identity: null, counted: highest, ...none });
  }

  #route(name: string): number {
    const known = this.#routes.get(name);
    if (known !== undefined) return known;
    this.file.run("INSERT INTO route (name, first) VALUES (?, ?)", name, this.journal.highest + 1);
    const { id } = this.file.get<{ id: number }>("SELECT id FROM route WHERE name = ?", name)!;
    this.#routes.set(name, id);
    this.#newRoutes.push([id, name]);
    return id;
  }

  /** Names of routes by their number on disk, those that were not told before. */
  takeRoutes(): readonly (readonly [id: number, name: string])[] {
    const routes = this.#newRoutes;
    this.#newRoutes = [];
    return routes;
  }

  /** Makes durable what was done since the last time. */
  commit(): void {
    if (!this.file.open) return;
    this.journal.write();
    this.file.commit();
  }

  /** The lane stands elsewhere, or waits for less. */
  moved(lane: LaneState): void {
    this.journal.moved(lane);
    this.changed.add(lane);
  }

  /** One fsynced transaction for all arrivals in `buffer`; `addresses[i]` is what address number i means. */
  append(buffer: ArrayBuffer, addresses: readonly Numbered[], dropQos0: boolean): TotalCounts {
    const counts = noCounts();
    this.file.begin();
    this.#enqueue(buffer, addresses, counts, dropQos0);
    for (const name of Object.keys(counts) as TotalName[]) this.totals[name] += counts[name];
    if (counts.received > 0) this.journal.counted();
    this.commit();
    return counts;
  }

  /** Puts what is in `buffer` into its queues, inside the open transaction. */
  #enqueue(
    buffer: ArrayBuffer,
    addresses: readonly Numbered[],
    counts: TotalCounts,
    dropQos0: boolean,
  ): void {
    const numbers = addresses.map(({ lane, route }) => ({
      lane: this.lane(lane),
      route: this.#route(route),
    }));
    const touched = new Set<LaneState>();
    const { receipts } = this.journal;
    visitArrivals(buffer, {
      publish: (it) => this.#take(it, numbers, counts, touched, dropQos0),
      release: (packetId) => receipts.release(packetId),
      sessionLost: () => receipts.clear(),
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
    const again = (it.flags & 8) !== 0;
    if (qos > 0 && this.journal.receipts.isDuplicate(it.packetId, qos, again, it.content)) {
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
    const { writer, queue } = lane;
    if (writer.count === 0) return;
    queue.put(this.journal.highest + 1, writer.count, writer.bytes);
    this.journal.highest += writer.count;
    lane.pending += writer.count;
    writer.clear();
    this.journal.grew(lane);
    this.changed.add(lane);
  }

  /** The oldest frames that are not settled, up to `countMax` deliveries or `bytesMax` bytes, at least one frame. */
  read(name: string, countMax: number, bytesMax: number): Frames | null {
    const lane = this.lanes.get(name);
    if (!lane || lane.pending === 0) return null;
    const { settled, written } = lane;
    const parts: Frame[] = [];
    let count = 0, bytes = 0;
    for (const frame of lane.queue.after(settled, countMax)) {
      const size = frame.size ?? frame.data.length;
      if (parts.length > 0 && (count + frame.count > countMax || bytes + size > bytesMax)) break;
      assertWhole(frame, name);
      parts.push(frame);
      count += frame.count;
      bytes += size;
    }
    // Damage that SQLite does not see: the lane's numbers say that there is more than its queue holds.
    if (parts.length === 0) throw missing(lane);
    if (parts[0].first > settled) lane.oldestReceivedAtMs = receivedAtOf(parts[0]);
    this.changed.add(lane);
    const { first, count: n } = parts.at(-1)!;
    const last = first + n - 1;
    lane.inHand = { after: settled, last };
    const parked = this.letters.between(name, settled, last);
    return { identity: lane.identity, parts, after: written, settled, last, parked };
  }

  /**
   * Counts the batch in hand. Where the lane does not stand any more where the batch begins, nothing is done: what had
   * been settled before it was rolled back (a full disk), and all of that is read again.
   */
  settle(
    name: string,
    last: number,
    outcome: { stored: number; filtered: number; rows: number },
    dead: readonly StoredLetter[],
    memory: readonly (readonly [string, string | null])[],
  ): void {
    const lane = this.lanes.get(name)!;
    const { inHand } = lane;
    if (inHand?.last !== last || inHand.after !== lane.settled) return;
    this.file.begin();
    lane.inHand = undefined;
    for (const letter of dead) this.letters.insert(letter);
    for (const [key, value] of memory) {
      if (value === null) this.file.run("DELETE FROM memory WHERE key = ?", key);
      else this.file.run("INSERT OR REPLACE INTO memory (key, value) VALUES (?, ?)", key, value);
    }
    const counted = this.letters.settle(name, lane.settled, last);
    this.letters.limit();
    this.totals.stored += outcome.stored;
    this.totals.filtered += outcome.filtered;
    this.totals.rows += outcome.rows;
    this.totals.dead += counted;
    lane.pending -= outcome.stored + outcome.filtered + counted;
    lane.settled = lane.written = last;
    this.startGrace(lane);
    this.moved(lane);
    // Who hears of a dead letter wants to see it.
    if (counted > 0) this.commit();
  }

  /** What the filters remember. */
  memory(): [key: string, value: string][] {
    return this.file.all<{ key: string; value: string }>("SELECT key, value FROM memory").map((
      { key, value },
    ) => [key, value]);
  }

  park(letters: readonly StoredLetter[]): void {
    this.file.begin();
    for (const letter of letters) this.letters.insert(letter);
    this.commit();
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
      left -= lane.queue.deleteUpto(upto, left);
      if (left <= 0) return true;
      this.letters.forget(lane.name, lane.kept, upto);
      lane.kept = upto;
      lane.grace = lane.grace.filter((it) => it.upto > upto);
      this.moved(lane);
    }
    return false;
  }

  /** Throws where a spool of at most `bytesMax` is damaged anywhere; of a larger one so much is looked at, the oldest that waits. */
  check(bytesMax: number): void {
    const { file } = this;
    const small = file.bytes <= bytesMax;
    if (small) file.check();
    let left = bytesMax;
    for (const { queue, name, settled, kept } of this.lanes.values()) {
      for (const frame of queue.after(small ? kept : settled, -1)) {
        assertWhole(frame, name);
        if ((left -= frame.data.length) <= 0) return;
      }
    }
  }
}

function numbersOf(
  [, settled, written, kept, counted, waiting]: Position,
): Omit<LaneRow, "id" | "name" | "identity"> {
  return { settled, written, kept, counted, waiting };
}

function missing({ name, pending, settled }: LaneState): DamageError {
  return new DamageError(`${pending} messages that wait for ${name} after ${settled} are not there`);
}
