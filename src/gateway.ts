/**
 * The gateway in one sentence: two loops around one log. Broker to disk; disk to database.
 *
 * Promises that a message is acknowledged only after it is on disk, and forgotten only after it is in the
 * database (`gateway/lane.ts`). Starts with neither broker nor database there; parts can be exchanged while it runs.
 * It opens nothing and closes nothing: its parts belong to whoever made them.
 */
import { type Clock, sleep, systemClock } from "./clock.ts";
import type { Router, Sink, Source, Spool } from "./contracts.ts";
import { SluiceError } from "./errors.ts";
import type { Faults } from "./faults.ts";
import type { Arrival } from "./message.ts";
import { Availability } from "./gateway/availability.ts";
import { Lane } from "./gateway/lane.ts";
import { LetterNotes } from "./gateway/letter_notes.ts";
import { Recent } from "./gateway/recent.ts";
import { Upkeep } from "./gateway/upkeep.ts";

export interface GatewayParts {
  readonly source: Source;
  readonly spool: Spool;
  readonly router: Router;
  readonly sink: Sink;
}

export interface GatewayOptions {
  readonly faults: Faults;
  /** How long the batches in hand may take when it stops, in milliseconds. @default 5000 */
  readonly stopMs?: number;
  readonly clock?: Clock;
}

/** How often an idle gateway asks the database whether it is there. */
const PING_EVERY_MS = 30_000;

export class Gateway {
  readonly recent = new Recent();
  readonly availability: Availability;
  readonly #faults: Faults;
  readonly #clock: Clock;
  readonly #stopMs: number;
  readonly #upkeep: Upkeep;
  readonly #letterNotes: LetterNotes;
  readonly #lanes = new Map<string, Lane>();
  /** Those that were stopped when parts were exchanged. */
  #earlier: ReadonlyMap<string, Lane> = new Map();
  /** Lanes whose table takes nothing. */
  readonly #doubting = new Set<Lane>();
  readonly #failed = Promise.withResolvers<never>();
  #parts: GatewayParts;
  #tasks: Promise<void>[] = [];
  #stop = new AbortController();
  #cut = new AbortController();
  /** `run` is over: nothing is started any more. */
  #ended = false;
  #progressAt: number;

  constructor(parts: GatewayParts, { faults, stopMs = 5_000, clock = systemClock }: GatewayOptions) {
    this.#parts = parts;
    this.#faults = faults;
    this.#stopMs = stopMs;
    this.#clock = clock;
    this.#progressAt = clock.now();
    this.availability = new Availability({ clock, faults });
    this.#upkeep = new Upkeep({ parts: () => this.#parts, faults, availability: this.availability, clock });
    this.#letterNotes = new LetterNotes(faults, clock);
    this.#failed.promise.catch(() => {});
  }

  get lanes(): ReadonlyMap<string, Lane> {
    return this.#lanes;
  }

  /** Runs until `signal` is aborted; then ends both loops with the batch in hand. Rejects when a loop cannot go on. */
  async run(signal: AbortSignal): Promise<void> {
    this.#start();
    const aborted = Promise.withResolvers<void>();
    const onAbort = () => aborted.resolve();
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) aborted.resolve();
    let stopMs = this.#stopMs;
    try {
      await Promise.race([aborted.promise, this.#failed.promise]);
    } catch (error) {
      // What is in hand cannot be settled any more; the ledger will tell whether it was committed.
      stopMs = 0;
      throw error;
    } finally {
      signal.removeEventListener("abort", onAbort);
      this.#ended = true;
      await this.#halt(stopMs);
    }
  }

  /**
   * Exchanges parts: stops the loops after what they have in hand, and starts them again on the new ones, unless the
   * gateway is stopped meanwhile. `parts` is called in between, when nothing is remembered any more that the new ones
   * would not know. Call it when the last call has resolved.
   */
  async replace(parts: () => Promise<Partial<GatewayParts>>): Promise<void> {
    await this.#halt(this.#stopMs);
    try {
      this.#parts = { ...this.#parts, ...await parts() };
    } finally {
      if (!this.#ended) this.#start();
    }
  }

  /** Starts the loop of a lane that the spool has just begun. */
  openLane(name: string): void {
    if (this.#stop.signal.aborted || this.#lanes.has(name)) return;
    const lane = new Lane(name, {
      ...this.#parts,
      faults: this.#faults,
      availability: this.availability,
      clock: this.#clock,
      earlier: this.#earlier.get(name),
      doubting: this.#doubting,
      onDone: (batch, dead) => {
        this.recent.add(batch, dead);
        this.#letterNotes.add(name, dead);
      },
    });
    this.#lanes.set(name, lane);
    this.#begin(lane.drain(this.#stop.signal, this.#cut.signal));
  }

  /** Milliseconds since the loops were last seen to turn; what a watchdog should look at. */
  stillForMs(): number {
    return this.#clock.now() - this.#progressAt;
  }

  #start(): void {
    this.#stop = new AbortController();
    this.#cut = new AbortController();
    this.#earlier = new Map(this.#lanes);
    this.#lanes.clear();
    this.#doubting.clear();
    this.#tasks = [];
    this.#begin(this.#intake(this.#stop.signal));
    this.#begin(this.#watchDatabase(this.#stop.signal));
    this.#begin(this.#beat(this.#stop.signal));
    this.#begin(this.#upkeep.run(this.#stop.signal));
    for (const name of this.#parts.spool.lanes) this.openLane(name);
  }

  /** Broker to disk. Acknowledges a message only after the spool has fsynced it. */
  async #intake(signal: AbortSignal): Promise<void> {
    const { source, spool, router } = this.#parts;
    const address = (topic: string) => router.address(topic);
    for await (const arrivals of source.arrivals(signal)) {
      await spool.append(arrivals, address, signal);
      source.acknowledge(arrivals);
      if (this.#doubting.size > 0) this.#offer(arrivals, router);
    }
  }

  /** Shows what has come to the lanes that do not know whose fault it is that their table takes nothing. */
  #offer(arrivals: readonly Arrival[], router: Router): void {
    for (const arrival of arrivals) {
      if (arrival.kind !== "publish") continue;
      for (const { lane, route } of router.address(arrival.topic)) {
        this.#lanes.get(lane)?.offer(arrival, route);
      }
    }
  }

  /** Knows that an idle database has gone, or is back, before the next message does. */
  async #watchDatabase(signal: AbortSignal): Promise<void> {
    const { sink, spool } = this.#parts;
    while (!signal.aborted) {
      try {
        await sink.ping(signal);
        this.availability.succeeded(() => `${spool.stats.entries} messages waited`);
        await sleep(PING_EVERY_MS, signal, this.#clock);
      } catch (error) {
        if (signal.aborted) return;
        await this.availability.failed(error, signal);
      }
    }
  }

  /** Asks the spool for a sign of life; a worker that hangs leaves `stillForMs` growing. */
  async #beat(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#parts.spool.ping();
      this.#progressAt = this.#clock.now();
      await sleep(2_000, signal, this.#clock);
    }
  }

  #begin(task: Promise<void>): void {
    const stop = this.#stop.signal;
    const cut = this.#cut.signal;
    this.#tasks.push(task.catch((error) => {
      if (stop.aborted && (error === stop.reason || error === cut.reason)) return;
      if (stop.aborted && !(error instanceof SluiceError)) return;
      this.#failed.reject(error);
    }));
  }

  /** Lets both loops end with what they have in hand, and cuts them off after `stopMs`. */
  async #halt(stopMs: number): Promise<void> {
    this.#stop.abort(new DOMException("the gateway stops", "AbortError"));
    const timer = this.#clock.timer(stopMs, () => {
      this.#cut.abort(new DOMException("the gateway stops now", "AbortError"));
    });
    await Promise.all(this.#tasks);
    timer.cancel();
  }
}
