/**
 * Disk to database, one loop for each lane (target table).
 *
 * Promises that a batch is forgotten only after the database has committed it, that a failing table holds up its
 * own rows only, and that a message is counted exactly once. It never gives up: whatever the database says, the
 * lane waits and tries again, or asks the spool to take back what the database lost.
 */
import { Backoff } from "../backoff.ts";
import { type Clock, sleep } from "../clock.ts";
import type { Router, Sink, Spool, Written } from "../contracts.ts";
import { GiveUpError, LedgerError, messageOf, SluiceError, StallError } from "../errors.ts";
import type { Faults } from "../faults.ts";
import type { Batch, DeadLetter, Delivery, Message, Row } from "../message.ts";
import type { Availability } from "./availability.ts";

export interface LaneParts {
  readonly spool: Spool;
  readonly router: Router;
  readonly sink: Sink;
  readonly faults: Faults;
  readonly availability: Availability;
  readonly clock: Clock;
  /** The lane of the same name that this one takes over from, where parts were exchanged. */
  readonly earlier?: Lane;
  /** Where it enters itself while its table refuses everything: `offer` it what comes. */
  readonly doubting?: Set<Lane>;
  /** Told of each batch that is done, with what of it became dead letters; for the status page. */
  readonly onDone?: (batch: Batch, dead: readonly DeadLetter[]) => void;
}

/** So often in a row a lane may fail where others do not before it is its own trouble, not the database's. */
const ALONE_MAX = 3;
/** What is kept of messages that may bear witness. */
const WITNESSES_MAX = 16;
const WITNESS_BYTES_MAX = 16 * 1024;

/** `ok`: nothing is in its way. `waiting`: the database is away. `stalled`: its own table refuses. */
export type LaneState = "ok" | "waiting" | "stalled";

/** A batch on its way through the database. */
interface Attempt {
  readonly batch: Batch;
  readonly rows: readonly Row[];
  /** What the database refused in any try so far. It is parked, so it must never be written again. */
  readonly refused: Map<number, DeadLetter>;
}

export class Lane {
  readonly name: string;
  readonly #parts: LaneParts;
  readonly #probe: Backoff;
  #state: LaneState = "ok";
  #reason: string | null = null;
  /** While the table refuses everything: what has come since, the newest of each topic. It may tell whose fault that is. */
  readonly #newest = new Map<string, Delivery>();
  /** Tries in a row that failed while others succeeded. */
  #alone = 0;
  /**
   * The highest that the ledger can honestly say: more than that was never written under this identity, by this process
   * or by one that had a copy of the spool as it was opened. It never falls: a batch that is read again (the spool took
   * back what it had not made durable) may be smaller than the one that was written.
   */
  #highest: number;
  /** The identity under which the ledger row is known to stand where the spool thinks; undefined until the first batch. */
  #identity: string | undefined;
  /** Take the ledger as it is in the next write: what it lacks cannot be given back. */
  #adopt = false;
  /** The row that was committed last by this process, if it is not too large to be kept. */
  #previous: Row | undefined;

  constructor(name: string, parts: LaneParts) {
    this.name = name;
    this.#parts = parts;
    this.#probe = new Backoff({ firstMs: 1_000, maxMs: 30_000 });
    this.#highest = parts.earlier?.highest ?? parts.spool.highestAtOpen;
  }

  /** What the ledger can honestly say at most. */
  get highest(): number {
    return this.#highest;
  }

  get state(): LaneState {
    return this.#state;
  }

  /** What holds the lane up, in one sentence; null while nothing does. */
  get reason(): string | null {
    return this.#reason;
  }

  /** A message of this lane has come, and is in the spool. Costs nothing unless the lane needs witnesses. */
  offer(message: Message, route: string): void {
    if (!this.#parts.doubting?.has(this) || message.payload.length > WITNESS_BYTES_MAX) return;
    const { topic, payload, qos, retain, receivedAtMs } = message;
    this.#newest.delete(topic);
    this.#newest.set(topic, {
      ...{ topic, payload: payload.slice(), qos, retain, receivedAtMs, route },
      sequence: Number.MAX_SAFE_INTEGER,
    });
    if (this.#newest.size <= WITNESSES_MAX) return;
    const [oldest] = this.#newest.keys();
    this.#newest.delete(oldest);
  }

  /** Runs until `signal` is aborted, and ends with the batch in hand, or when `cut` is aborted. */
  async drain(signal: AbortSignal, cut: AbortSignal): Promise<void> {
    const { spool, router, onDone } = this.#parts;
    for await (const batch of spool.batches(this.name, signal)) {
      const { parked } = batch;
      const deliveries = parked.size === 0
        ? batch.deliveries
        : batch.deliveries.filter((it) => !parked.has(it.sequence));
      const decoded = router.decode(this.name, deliveries);
      const refused = new Map<number, DeadLetter>();
      const written = await this.#write({ batch, rows: decoded.rows, refused }, signal, cut);
      if (written === null) continue;
      await spool.settle(batch, {
        stored: deliveries.length - decoded.filtered - decoded.dead.length - refused.size,
        filtered: decoded.filtered,
        rows: written.rows,
        dead: decoded.dead,
        memory: router.remember(decoded, refused),
      });
      onDone?.(batch, refused.size === 0 ? decoded.dead : [...decoded.dead, ...refused.values()]);
    }
  }

  /** Tries until the batch is committed. Null: the batch must be read anew, as the lane stands elsewhere now or there is more. */
  async #write(attempt: Attempt, signal: AbortSignal, cut: AbortSignal): Promise<Written | null> {
    while (true) {
      const beganAt = this.#parts.clock.now();
      try {
        const written = await this.#try(attempt, cut);
        this.#succeeded(attempt, written);
        return written;
      } catch (error) {
        if (signal.aborted) throw signal.reason;
        if (error instanceof GiveUpError) throw error;
        if (error instanceof LedgerError) {
          if (await this.#reconcile(error, attempt.batch)) return null;
        } else {
          await this.#hold(error, beganAt, signal);
          // What has come meanwhile is part of the next try: it may show whether the table or its rows are at fault.
          if (error instanceof StallError) return null;
        }
      }
    }
  }

  #try({ batch, rows, refused }: Attempt, cut: AbortSignal): Promise<Written> {
    const { spool, sink } = this.#parts;
    this.#identity ??= batch.spool;
    const highest = Math.max(this.#highest, batch.after);
    this.#highest = Math.max(highest, batch.last);
    return sink.write({
      spool: batch.spool,
      lane: this.name,
      after: batch.after,
      last: batch.last,
      highest,
      adopt: this.#adopt || batch.spool !== this.#identity,
      previous: this.#previous,
      // They are decoded once more when their turn comes; what filters remember of them lets no more than one row too
      // many through.
      witnesses: this.#newest.size === 0
        ? undefined
        : this.#parts.router.decode(this.name, [...this.#newest.values()]).rows,
      rows: refused.size === 0 ? rows : rows.filter((row) => !refused.has(row.sequence)),
      park: async (refusals) => {
        const letters = refusals.map(({ sequence, reason, errno }): DeadLetter => {
          const delivery = batch.deliveries.find((it) => it.sequence === sequence)!;
          return { ...delivery, lane: this.name, reason, errno };
        });
        await spool.park(letters);
        for (const letter of letters) refused.set(letter.sequence, letter);
      },
    }, cut);
  }

  #succeeded({ batch, rows, refused }: Attempt, written: Written): void {
    const { availability, faults, spool } = this.#parts;
    const last = rows.findLast((row) => !refused.has(row.sequence));
    if (last) this.#previous = kept(last);
    this.#identity = batch.spool;
    this.#adopt = false;
    availability.succeeded(() => `${spool.stats.entries} messages waited`);
    this.#alone = 0;
    // A batch of nothing but bad rows may be followed by another: the witnesses stay.
    if (written.rows > 0) this.#doubt(false);
    if (this.#state === "ok") return;
    if (this.#state === "stalled") {
      const pending = spool.stats.lanes[this.name]?.pending ?? batch.deliveries.length;
      faults.end(this.#faultKey, { detail: `${pending} messages waited` });
    }
    this.#state = "ok";
    this.#reason = null;
    this.#probe.reset();
  }

  /**
   * Waits until it is worth trying again. A lane that fails while others succeed is not woken by them, and does not make
   * an outage begin and end with each of its tries.
   */
  async #hold(error: unknown, beganAt: number, signal: AbortSignal): Promise<void> {
    const { availability, faults, clock } = this.#parts;
    this.#reason = messageOf(error);
    if (error instanceof StallError) this.#doubt(error.refusesAll);
    this.#alone = availability.succeededSince(beganAt) ? this.#alone + 1 : 0;
    if (error instanceof StallError || this.#alone > ALONE_MAX) {
      this.#state = "stalled";
      const hint = error instanceof SluiceError ? error.hint : undefined;
      faults.begin(this.#faultKey, this.#reason, { hint });
      await sleep(this.#probe.nextMs(), signal, clock);
    } else {
      if (this.#state !== "stalled") this.#state = "waiting";
      await availability.failed(error, signal);
    }
  }

  #doubt(refusesAll: boolean): void {
    if (refusesAll) return void this.#parts.doubting?.add(this);
    this.#parts.doubting?.delete(this);
    this.#newest.clear();
  }

  /** The ledger does not stand where the spool thinks. True: the lane's position has changed; false: try again. */
  async #reconcile(error: LedgerError, batch: Batch): Promise<boolean> {
    const { spool, faults } = this.#parts;
    if (error.kind === "ahead") {
      const identity = await spool.renew(this.name, Math.min(error.upto, spool.highestAtOpen));
      faults.note(
        `the database holds messages of ${this.name} up to number ${error.upto}, more than this spool ever gave out: ` +
          `an old copy of it was put back, or a copy is in use elsewhere. It goes on as a new spool ` +
          `(${identity} instead of ${batch.spool})`,
      );
      return true;
    }
    const upto = error.kind === "missing" ? 0 : error.upto;
    const keptAfter = await spool.keptAfter(this.name);
    if (error.kind === "missing" && (keptAfter > 0 || error.held)) {
      // The row of a lane that is old, or whose last message is in the table: another database, or a hand that
      // deleted it. Writing again what is still on disk would double it in the second case, so nothing is repeated.
      // A young lane's is taken for the work of a database that was put back to the time before it.
      this.#adopt = true;
      faults.note(
        `the ledger has no row for ${this.name}, although it was written before: going on after it`,
      );
      return false;
    }
    const from = await spool.rewind(this.name, upto);
    this.#adopt = from > upto;
    faults.note(
      `the database lost what was committed to ${this.name} after message ${upto}: writing it again from the spool` +
        (from > upto ? `, which keeps only what came after ${from}; ${from - upto} messages are lost` : ""),
    );
    return true;
  }

  get #faultKey(): string {
    return `lane ${this.name}`;
  }
}

const KEPT_BYTES_MAX = 4_096;

/** A copy, as a payload is a view of its whole batch; undefined where it is large. */
function kept({ sequence, shape, values }: Row): Row | undefined {
  const bytes = values.reduce<number>(
    (sum, it) => sum + (typeof it === "string" || it instanceof Uint8Array ? it.length : 0),
    0,
  );
  if (bytes > KEPT_BYTES_MAX) return undefined;
  return { sequence, shape, values: values.map((it) => it instanceof Uint8Array ? it.slice() : it) };
}
