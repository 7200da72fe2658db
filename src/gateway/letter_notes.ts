/**
 * A line in the log when messages become dead letters: at once, and then once a minute for each table at most, with how
 * many there were since, so that a device gone mad does not fill the log. The letters themselves say more.
 */
import { type Clock, systemClock } from "../clock.ts";
import type { Faults } from "../faults.ts";
import type { DeadLetter } from "../message.ts";

const TOLD_EVERY_MS = 60_000;
const TOPIC_LENGTH_MAX = 200;

interface Told {
  at: number;
  /** Letters since then. */
  since: number;
}

export class LetterNotes {
  readonly #faults: Pick<Faults, "note">;
  readonly #clock: Clock;
  readonly #lanes = new Map<string, Told>();

  constructor(faults: Pick<Faults, "note">, clock: Clock = systemClock) {
    this.#faults = faults;
    this.#clock = clock;
  }

  add(lane: string, letters: readonly DeadLetter[]): void {
    const last = letters.at(-1);
    if (!last) return;
    const now = this.#clock.now();
    const known = this.#lanes.get(lane);
    const count = letters.length + (known?.since ?? 0);
    if (known && now - known.at < TOLD_EVERY_MS) return void (known.since = count);
    this.#lanes.set(lane, { at: now, since: 0 });
    // Quoted: a topic may hold anything.
    const topic = JSON.stringify(last.topic.slice(0, TOPIC_LENGTH_MAX));
    const what = count === 1
      ? `a message for ${lane} became a dead letter, of ${topic}`
      : `${count} messages for ${lane} became dead letters, the last of ${topic}`;
    this.#faults.note(`${what}: ${last.reason} (see \`sluice dead list\`)`);
  }
}
