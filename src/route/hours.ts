/**
 * Hours of tables that have got rows and are not summed up yet: what an hourly summary must compute again.
 *
 * An hour is noted after its rows are committed, and with every batch anew, so that whoever takes it sees the rows, and
 * a crash leaves it in the spool's memory together with the batch. What was taken stays written down until it is
 * returned: to sum up an hour once more does no harm. Bounded: an hour that is far from all others may bring those
 * between with it, which costs time and nothing else.
 */
import { hourOf, type HourSpan, joinHours } from "../hourly.ts";

/** How the keys of the spool's memory begin. */
export const HOURS = "hours\n";

const SPANS_MAX = 32;

interface Noted {
  waiting: HourSpan[];
  taken: HourSpan[];
}

export class Hours {
  readonly #tables = new Map<string, Noted>();
  readonly #changed = new Set<string>();
  /** The hour of the last time that was noted, by its text. */
  #text = "";
  #hour = NaN;

  /** `known`: the spool's memory. */
  constructor(known: ReadonlyMap<string, string>) {
    for (const [key, value] of known) {
      if (key.startsWith(HOURS)) {
        this.#tables.set(key.slice(HOURS.length), { waiting: parseSpans(value), taken: [] });
      }
    }
  }

  /** `time` as it is bound: `YYYY-MM-DD HH:...` in UTC. Anything else has no hour. */
  note(table: string, time: unknown): void {
    if (typeof time !== "string") return;
    const text = time.slice(0, 13);
    if (text !== this.#text) {
      this.#text = text;
      this.#hour = hourOf(text);
    }
    if (Number.isNaN(this.#hour)) return;
    const noted = this.#of(table);
    this.#changed.add(table);
    if (noted.waiting.some(({ from, to }) => from <= this.#hour && this.#hour < to)) return;
    noted.waiting = joined([...noted.waiting, { from: this.#hour, to: this.#hour + 1 }]);
  }

  take(table: string): readonly HourSpan[] {
    const noted = this.#of(table);
    noted.taken = joined([...noted.taken, ...noted.waiting]);
    noted.waiting = [];
    return noted.taken;
  }

  /** All that was taken is done, but for these. */
  return(table: string, hours: readonly HourSpan[]): void {
    const noted = this.#of(table);
    noted.waiting = joined([...noted.waiting, ...hours]);
    noted.taken = [];
    this.#changed.add(table);
  }

  /** What is to be written down since the last call. */
  changes(): [key: string, value: string | null][] {
    const changes = [...this.#changed].map((table): [string, string | null] => {
      const { waiting, taken } = this.#of(table);
      return [HOURS + table, formatSpans(joined([...waiting, ...taken])) || null];
    });
    this.#changed.clear();
    return changes;
  }

  #of(table: string): Noted {
    let noted = this.#tables.get(table);
    if (!noted) this.#tables.set(table, noted = { waiting: [], taken: [] });
    return noted;
  }
}

/** So few that they can be kept: the nearest become one. */
function joined(spans: readonly HourSpan[]): HourSpan[] {
  const all = joinHours(spans);
  while (all.length > SPANS_MAX) {
    const gaps = all.slice(1).map((it, i) => it.from - all[i].to);
    const at = gaps.indexOf(Math.min(...gaps));
    all.splice(at, 2, { from: all[at].from, to: all[at + 1].to });
  }
  return all;
}

const formatSpans = (spans: readonly HourSpan[]) => spans.map(({ from, to }) => `${from}-${to}`).join(" ");

function parseSpans(text: string): HourSpan[] {
  const spans = [...text.matchAll(/(-?\d+)-(-?\d+)/g)].map(([, from, to]) => ({
    from: Number(from),
    to: Number(to),
  }));
  return joined(spans);
}
