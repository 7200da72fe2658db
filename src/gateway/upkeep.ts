/**
 * Looks after tables beside the lanes: asks the sink to remove rows that are too old and to sum up hours, at the start
 * and then after each full hour, a little later each time so that many gateways do not come at once.
 *
 * It works only while the database answers, holds up no lane and counts nothing: what it removes was stored. What is
 * wrong with a table is one fault when it begins and one when it ends, and the other tables go on.
 */
import { type Clock, sleep } from "../clock.ts";
import type { KeptTable, Router, Sink } from "../contracts.ts";
import { BackOffError, messageOf, SluiceError } from "../errors.ts";
import type { Faults } from "../faults.ts";
import { MS_PER_HOUR } from "../hourly.ts";
import type { Availability } from "./availability.ts";

export interface UpkeepParts {
  /** Asked for at each round: a reload exchanges them. */
  readonly parts: () => { readonly router: Router; readonly sink: Sink };
  readonly faults: Faults;
  readonly availability: Availability;
  readonly clock: Clock;
  /** A number in [0, 1). @default Math.random */
  readonly random?: () => number;
}

/** After the full hour, so that what is still under way has arrived. */
const DELAY_MS = 60_000;
const JITTER_MS = 4 * 60_000;
/** Where something was in the way. */
const RETRY_MS = 5 * 60_000;
/** Between two turns while there is much to do. */
const PAUSE_MS = 250;

type Outcome = "done" | "more" | "failed";

export class Upkeep {
  readonly #parts: UpkeepParts;
  /** What was advised once. */
  readonly #advised = new Set<string>();
  readonly #faulty = new Set<string>();

  constructor(parts: UpkeepParts) {
    this.#parts = parts;
  }

  /** Runs until `signal` is aborted; rejects with its reason only. One call at a time. */
  async run(signal: AbortSignal): Promise<void> {
    const { availability, clock, parts } = this.#parts;
    while (true) {
      await availability.reached(signal);
      const { router, sink } = parts();
      const tables = sink.maintain ? router.kept : [];
      // Those that are not looked after any more are no fault any more.
      for (const table of this.#faulty) {
        if (!tables.some((it) => it.table === table)) this.#ended(table);
      }
      let failed = false;
      for (let left = tables; left.length > 0;) {
        const more: KeptTable[] = [];
        for (const kept of left) {
          const outcome = await this.#maintain(kept, signal);
          if (outcome === "more") more.push(kept);
          failed ||= outcome === "failed";
        }
        left = more;
        if (left.length > 0) await sleep(PAUSE_MS, signal, clock);
      }
      await sleep(failed ? Math.min(RETRY_MS, this.#untilNextMs()) : this.#untilNextMs(), signal, clock);
    }
  }

  #ended(table: string): void {
    this.#faulty.delete(table);
    this.#parts.faults.end(faultKey(table));
  }

  async #maintain(kept: KeptTable, signal: AbortSignal): Promise<Outcome> {
    const { parts, faults, clock } = this.#parts;
    const { router, sink } = parts();
    const { table } = kept;
    const hours = router.takeHours(table);
    let left = hours;
    try {
      const done = await sink.maintain!({ ...kept, nowMs: clock.wallMs(), hours }, signal);
      left = done.hours;
      if (done.advice !== null && !this.#advised.has(done.advice)) {
        this.#advised.add(done.advice);
        faults.note(done.advice);
      }
      if (this.#faulty.has(table)) this.#ended(table);
      return done.more ? "more" : "done";
    } catch (error) {
      signal.throwIfAborted();
      // That the database is away is told by those who need it.
      if (!(error instanceof BackOffError)) {
        const hint = error instanceof SluiceError ? error.hint : undefined;
        this.#faulty.add(table);
        faults.begin(faultKey(table), messageOf(error), { hint });
      }
      return "failed";
    } finally {
      router.returnHours(table, left);
    }
  }

  #untilNextMs(): number {
    const { clock, random = Math.random } = this.#parts;
    const intoHourMs = clock.wallMs() % MS_PER_HOUR;
    return MS_PER_HOUR - intoHourMs + DELAY_MS + random() * JITTER_MS;
  }
}

const faultKey = (table: string) => `upkeep ${table}`;
