/**
 * What is wrong right now: one log line when a fault begins and one when it ends, however often it is met between.
 *
 * A fault has a key; whoever meets it says `begin` each time. A changed reason while it lasts is told at most once a
 * minute. `sentence` says it all in one sentence, for people. It decides nothing.
 */
import { type Clock, systemClock } from "./clock.ts";

export interface Fault {
  readonly key: string;
  readonly sentence: string;
  readonly hint: string | undefined;
  /** Milliseconds since 1970. */
  readonly sinceMs: number;
}

/** Where the lines go. */
export interface FaultLog {
  warn(line: string): void;
  info(line: string): void;
}

export interface FaultsOptions {
  readonly clock?: Clock;
  readonly log?: FaultLog;
}

const CHANGE_EVERY_MS = 60_000;

interface Entry extends Fault {
  readonly startedAt: number;
  toldAt: number;
}

export class Faults {
  readonly #clock: Clock;
  readonly #log: FaultLog | undefined;
  readonly #entries = new Map<string, Entry>();

  constructor({ clock = systemClock, log }: FaultsOptions = {}) {
    this.#clock = clock;
    this.#log = log;
  }

  get current(): readonly Fault[] {
    return [...this.#entries.values()];
  }

  /** What is wrong right now, or null. */
  get sentence(): string | null {
    const all = [...this.#entries.values()];
    if (all.length === 0) return null;
    return all[0].sentence + (all.length > 1 ? ` (and ${all.length - 1} more)` : "");
  }

  begin(key: string, sentence: string, { hint }: { hint?: string } = {}): void {
    const now = this.#clock.now();
    const known = this.#entries.get(key);
    const line = hint ? `${sentence} (${hint})` : sentence;
    if (!known) {
      this.#entries.set(key, {
        key,
        sentence,
        hint,
        sinceMs: this.#clock.wallMs(),
        startedAt: now,
        toldAt: now,
      });
      this.#log?.warn(line);
    } else if (known.sentence !== sentence) {
      const tell = now - known.toldAt >= CHANGE_EVERY_MS;
      this.#entries.set(key, { ...known, sentence, hint, toldAt: tell ? now : known.toldAt });
      if (tell) this.#log?.warn(line);
    }
  }

  end(key: string, { detail }: { detail?: string } = {}): void {
    const known = this.#entries.get(key);
    if (!known) return;
    this.#entries.delete(key);
    const seconds = (this.#clock.now() - known.startedAt) / 1_000;
    this.#log?.info(`over after ${seconds.toFixed(1)} s: ${known.sentence}${detail ? `; ${detail}` : ""}`);
  }

  /** Something that happened once and is worth a line. */
  note(sentence: string): void {
    this.#log?.warn(sentence);
  }
}
