/**
 * The log on disk: one SQLite file in WAL mode with `synchronous=FULL`, written by one thread.
 *
 * Tables: `meta` (identity and numbers), `lane` and `route` (names), `queue_N` (frames of lane N, by first sequence),
 * `arrival` (one row for each append: receipts), `dead`, `memory`. What `append` and `park` return from is fsynced;
 * what `settle` says becomes durable with the next of them, or at `flush`.
 */
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { crc32 } from "node:zlib";
import { FrameWriter, type TransitPublish, visitArrivals } from "./frame.ts";
import { Receipts } from "./receipts.ts";

export const TOTAL_NAMES = [
  "received",
  "duplicate",
  "unrouted",
  "routed",
  "deliveries",
  "stored",
  "filtered",
  "dead",
  "dropped",
  "rows",
] as const;
export type TotalName = typeof TOTAL_NAMES[number];
export type TotalCounts = Record<TotalName, number>;

const FRAME_BYTES_MAX = 256 * 1024;
const FRAME_COUNT_MAX = 1_000;
/** Rows of `arrival` beyond this many receipts are forgotten. */
const RECEIPTS_KEPT = 16_384;

export interface LaneState {
  readonly id: number;
  readonly name: string;
  settled: number;
  kept: number;
  pending: number;
  /** Settled but on disk: up to which sequence, until when. */
  grace: { upto: number; untilMs: number }[];
  readonly writer: FrameWriter;
}

export interface StoredLetter {
  lane: string;
  sequence: number;
  route: string;
  receivedAtMs: number;
  topic: string;
  payload: Uint8Array;
  qos: number;
  retain: boolean;
  reason: string;
  errno: number | null;
}

export interface Frames {
  /** Frames one behind the other, with the first sequence and length of each. */
  parts: { first: number; count: number; data: Uint8Array }[];
  after: number;
  last: number;
  parked: number[];
}

const SCHEMA = `
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE lane (id INTEGER PRIMARY KEY, name TEXT UNIQUE, settled INTEGER NOT NULL, kept INTEGER NOT NULL);
CREATE TABLE route (id INTEGER PRIMARY KEY, name TEXT UNIQUE);
CREATE TABLE arrival (id INTEGER PRIMARY KEY, receipts BLOB);
CREATE TABLE memory (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE dead (
  id INTEGER PRIMARY KEY AUTOINCREMENT, lane TEXT, sequence INTEGER, route TEXT, received_at REAL, topic TEXT,
  payload BLOB, qos INTEGER, retain INTEGER, reason TEXT, errno INTEGER, counted INTEGER DEFAULT 0,
  replay INTEGER DEFAULT 0, UNIQUE (lane, sequence)
);`;

export class Store {
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  readonly #lanes = new Map<string, LaneState>();
  readonly #routes = new Map<string, number>();
  readonly #receipts = new Receipts();
  readonly #graceMs: number;
  #receiptCount = 0;
  #next = 1;
  #dirty = false;
  totals: TotalCounts = Object.fromEntries(TOTAL_NAMES.map((name) => [name, 0])) as TotalCounts;
  identity = "";
  highestAtOpen = 0;

  constructor(path: string, graceMs: number) {
    this.#graceMs = graceMs;
    this.#db = new DatabaseSync(path);
    this.#db.exec(
      "PRAGMA page_size=1024; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA busy_timeout=5000",
    );
    this.#db.exec("PRAGMA wal_autocheckpoint=8000; PRAGMA journal_size_limit=33554432");
    const [{ n }] = this.#all("SELECT count(*) AS n FROM sqlite_schema WHERE name = 'meta'") as {
      n: number;
    }[];
    if (n === 0) {
      this.#transaction(() => {
        this.#db.exec(SCHEMA);
        this.#setMeta("identity", crypto.randomUUID());
      });
    }
    this.#load();
  }

  #load(): void {
    const meta = new Map(
      (this.#all("SELECT key, value FROM meta") as { key: string; value: unknown }[]).map((
        row,
      ) => [row.key, row.value]),
    );
    this.identity = String(meta.get("identity"));
    this.totals = { ...this.totals, ...JSON.parse(String(meta.get("totals") ?? "{}")) };
    for (const row of this.#all("SELECT id, name FROM route") as { id: number; name: string }[]) {
      this.#routes.set(row.name, row.id);
    }
    let highest = Number(meta.get("highest") ?? 0);
    for (
      const { id, name, settled, kept } of this.#all("SELECT * FROM lane") as {
        id: number;
        name: string;
        settled: number;
        kept: number;
      }[]
    ) {
      const lane: LaneState = { id, name, settled, kept, pending: 0, grace: [], writer: new FrameWriter() };
      this.#lanes.set(name, lane);
      for (
        const { first, count } of this.#all(
          `SELECT first, count FROM queue_${id} WHERE first + count - 1 > ?`,
          settled,
        ) as { first: number; count: number }[]
      ) {
        lane.pending += first + count - 1 - Math.max(settled, first - 1);
      }
      const [last] = this.#all(
        `SELECT first + count - 1 AS n FROM queue_${id} ORDER BY first DESC LIMIT 1`,
      ) as { n: number }[];
      highest = Math.max(highest, last?.n ?? 0, settled);
      lane.grace.push({ upto: settled, untilMs: Date.now() + this.#graceMs });
    }
    for (
      const { receipts } of this.#all("SELECT receipts FROM arrival ORDER BY id") as {
        receipts: Uint8Array;
      }[]
    ) this.#receipts.replay(receipts);
    this.highestAtOpen = highest;
    this.#next = highest + 1;
  }

  get lanes(): Iterable<LaneState> {
    return this.#lanes.values();
  }

  lane(name: string): LaneState {
    const known = this.#lanes.get(name);
    if (known) return known;
    this.#run("INSERT INTO lane (name, settled, kept) VALUES (?, 0, 0)", name);
    const [{ id }] = this.#all("SELECT id FROM lane WHERE name = ?", name) as { id: number }[];
    this.#db.exec(
      `CREATE TABLE queue_${id} (first INTEGER PRIMARY KEY, count INTEGER, crc INTEGER, data BLOB)`,
    );
    const lane: LaneState = {
      id,
      name,
      settled: 0,
      kept: 0,
      pending: 0,
      grace: [],
      writer: new FrameWriter(),
    };
    this.#lanes.set(name, lane);
    return lane;
  }

  #route(name: string): number {
    const known = this.#routes.get(name);
    if (known !== undefined) return known;
    this.#run("INSERT INTO route (name) VALUES (?)", name);
    const [{ id }] = this.#all("SELECT id FROM route WHERE name = ?", name) as { id: number }[];
    this.#routes.set(name, id);
    return id;
  }

  routeNames(): Map<number, string> {
    return new Map([...this.#routes].map(([name, id]) => [id, name]));
  }

  /** One transaction for everything in `buffer`. `addresses[i]` is what address number i means. Returns lanes with news. */
  append(
    buffer: ArrayBuffer,
    addresses: readonly { lane: string; route: string }[],
    dropQos0: boolean,
  ): TotalCounts {
    const counts = Object.fromEntries(TOTAL_NAMES.map((name) => [name, 0])) as TotalCounts;
    const touched = new Set<LaneState>();
    this.#transaction(() => {
      const numbers = addresses.map(({ lane, route }) => ({
        lane: this.lane(lane),
        route: this.#route(route),
      }));
      visitArrivals(buffer, {
        publish: (it) => this.#take(it, numbers, counts, touched, dropQos0),
        release: (packetId) => this.#receipts.release(packetId),
        sessionLost: () => this.#receipts.clear(),
      });
      for (const lane of touched) this.#writeFrame(lane);
      const receipts = this.#receipts.takeJournal();
      if (receipts.length > 0) {
        this.#run("INSERT INTO arrival (receipts) VALUES (?)", receipts);
        this.#receiptCount++;
      }
      for (const name of TOTAL_NAMES) this.totals[name] += counts[name];
      this.#saveState();
    });
    return counts;
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
      lane.writer.add(it, route);
      if (lane.writer.length >= FRAME_BYTES_MAX || lane.writer.count >= FRAME_COUNT_MAX) {
        this.#writeFrame(lane);
      }
    }
  }

  #writeFrame(lane: LaneState): void {
    const { writer } = lane;
    if (writer.count === 0) return;
    const data = writer.bytes;
    this.#run(
      `INSERT INTO queue_${lane.id} (first, count, crc, data) VALUES (?, ?, ?, ?)`,
      this.#next,
      writer.count,
      crc32(data),
      data,
    );
    this.#next += writer.count;
    lane.pending += writer.count;
    writer.clear();
  }

  /** The oldest frames after what is settled, up to `countMax` deliveries or `bytesMax` bytes, at least one frame. */
  read(name: string, countMax: number, bytesMax: number): Frames | null {
    const lane = this.#lanes.get(name);
    if (!lane || lane.pending === 0) return null;
    const parts = [];
    let count = 0, bytes = 0;
    const statement = this.#prepare(
      `SELECT first, count, data FROM queue_${lane.id} WHERE first > ? ORDER BY first LIMIT 64`,
    );
    // A frame that is settled in part begins at or before `settled`.
    const [partial] = this.#all(
      `SELECT first, count, data FROM queue_${lane.id} WHERE first <= ? ORDER BY first DESC LIMIT 1`,
      lane.settled,
    ) as { first: number; count: number; data: Uint8Array }[];
    if (partial && partial.first + partial.count - 1 > lane.settled) {
      parts.push(partial);
      count += partial.count;
      bytes += partial.data.length;
    }
    for (
      const row of statement.iterate(lane.settled) as Iterable<
        { first: number; count: number; data: Uint8Array }
      >
    ) {
      if (parts.length > 0 && (count + row.count > countMax || bytes + row.data.length > bytesMax)) break;
      parts.push(row);
      count += row.count;
      bytes += row.data.length;
    }
    if (parts.length === 0) return null;
    const last = parts.at(-1)!.first + parts.at(-1)!.count - 1;
    const parked = (this.#all(
      "SELECT sequence FROM dead WHERE lane = ? AND sequence > ? AND sequence <= ?",
      name,
      lane.settled,
      last,
    ) as { sequence: number }[])
      .map((row) => row.sequence);
    return { parts, after: lane.settled, last, parked };
  }

  settle(
    name: string,
    last: number,
    outcome: { stored: number; filtered: number; rows: number },
    dead: readonly StoredLetter[],
    memory: readonly (readonly [string, string | null])[],
  ): void {
    const lane = this.#lanes.get(name)!;
    this.#begin();
    for (const letter of dead) this.#insertLetter(letter);
    const { changes } = this.#run(
      "UPDATE dead SET counted = 1 WHERE lane = ? AND sequence <= ? AND counted = 0",
      name,
      last,
    );
    for (const [key, value] of memory) {
      if (value === null) this.#run("DELETE FROM memory WHERE key = ?", key);
      else this.#run("INSERT OR REPLACE INTO memory (key, value) VALUES (?, ?)", key, value);
    }
    this.#run("UPDATE lane SET settled = ? WHERE id = ?", last, lane.id);
    this.totals.stored += outcome.stored;
    this.totals.filtered += outcome.filtered;
    this.totals.rows += outcome.rows;
    this.totals.dead += Number(changes);
    lane.pending -= outcome.stored + outcome.filtered + Number(changes);
    lane.settled = last;
    lane.grace.push({ upto: last, untilMs: Date.now() + this.#graceMs });
    this.#saveState();
  }

  park(letters: readonly StoredLetter[]): void {
    this.#begin();
    for (const letter of letters) this.#insertLetter(letter);
    this.flush();
  }

  keptAfter(name: string): number {
    return this.#lanes.get(name)!.kept;
  }

  /** Takes back what was settled after `upto`, as far as it is still on disk. Returns where the lane stands now. */
  rewind(name: string, upto: number): number {
    const lane = this.#lanes.get(name)!;
    const from = Math.min(lane.settled, Math.max(upto, lane.kept));
    this.#transaction(() => {
      const again = this.#pendingBetween(lane, from, lane.settled);
      const [{ n: dead }] = this.#all(
        "SELECT count(*) AS n FROM dead WHERE lane = ? AND sequence > ? AND counted = 1",
        name,
        from,
      ) as { n: number }[];
      this.#run("UPDATE dead SET counted = 0 WHERE lane = ? AND sequence > ? AND counted = 1", name, from);
      this.totals.dead -= dead;
      // What was filtered then is decided anew; until it is, it counts as stored no more.
      const stored = Math.min(this.totals.stored, again - dead);
      this.totals.stored -= stored;
      this.totals.filtered -= again - dead - stored;
      lane.pending += again;
      lane.settled = from;
      lane.grace = lane.grace.filter((it) => it.upto <= from);
      this.#run("UPDATE lane SET settled = ? WHERE id = ?", from, lane.id);
      this.#saveState();
    });
    return from;
  }

  #pendingBetween(lane: LaneState, after: number, upto: number): number {
    let count = 0;
    for (
      const row of this.#all(`SELECT first, count FROM queue_${lane.id} WHERE first <= ?`, upto) as {
        first: number;
        count: number;
      }[]
    ) {
      count += Math.max(0, Math.min(upto, row.first + row.count - 1) - Math.max(after, row.first - 1));
    }
    return count;
  }

  /** Everything up to `upto` counts as stored; what comes after goes on under a new identity. */
  renew(upto: number): string {
    this.#transaction(() => {
      for (const lane of this.#lanes.values()) {
        if (lane.settled < upto) {
          const done = this.#pendingBetween(lane, lane.settled, upto);
          const { changes } = this.#run(
            "UPDATE dead SET counted = 1 WHERE lane = ? AND sequence <= ? AND counted = 0",
            lane.name,
            upto,
          );
          this.totals.dead += Number(changes);
          this.totals.stored += done - Number(changes);
          this.totals.rows += done - Number(changes);
          lane.pending -= done;
          lane.settled = upto;
          this.#run("UPDATE lane SET settled = ? WHERE id = ?", upto, lane.id);
        }
      }
      this.identity = crypto.randomUUID();
      this.#setMeta("identity", this.identity);
      this.#saveState();
    });
    return this.identity;
  }

  /** Deletes what is settled and older than the grace period, in small bites; returns true where more is left. */
  sweep(nowMs: number, countMax: number): boolean {
    let left = countMax;
    for (const lane of this.#lanes.values()) {
      let upto = 0;
      while (lane.grace.length > 0 && lane.grace[0].untilMs <= nowMs) upto = lane.grace.shift()!.upto;
      if (upto > lane.kept) {
        this.#begin();
        this.#run(`DELETE FROM queue_${lane.id} WHERE first + count - 1 <= ?`, upto);
        lane.kept = upto;
        this.#run("UPDATE lane SET kept = ? WHERE id = ?", upto, lane.id);
        left--;
      }
      if (left <= 0) return true;
    }
    return false;
  }

  memory(): [string, string][] {
    return (this.#all("SELECT key, value FROM memory") as { key: string; value: string }[]).map((
      row,
    ) => [row.key, row.value]);
  }

  #insertLetter(it: StoredLetter): void {
    this.#run(
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
  }

  /** Commits what `settle` has begun. */
  flush(): void {
    if (!this.#dirty) return;
    this.#dirty = false;
    this.#run("COMMIT");
  }

  /** `settle` leaves its transaction open, for the next append to commit with its own. */
  #begin(): void {
    if (this.#dirty) return;
    this.#run("BEGIN IMMEDIATE");
    this.#dirty = true;
  }

  #transaction(body: () => void): void {
    this.#begin();
    body();
    this.flush();
  }

  #saveState(): void {
    this.#setMeta("totals", JSON.stringify(this.totals));
    this.#setMeta("highest", this.#next - 1);
  }

  #setMeta(key: string, value: string | number): void {
    this.#run("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", key, value);
  }

  #prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (!statement) this.#statements.set(sql, statement = this.#db.prepare(sql));
    return statement;
  }

  // deno-lint-ignore no-explicit-any -- what SQLite binds
  #run(sql: string, ...values: any[]) {
    return this.#prepare(sql).run(...values);
  }

  // deno-lint-ignore no-explicit-any -- what SQLite binds
  #all(sql: string, ...values: any[]): unknown[] {
    return this.#prepare(sql).all(...values);
  }

  close(): void {
    this.flush();
    this.#db.close();
  }
}
