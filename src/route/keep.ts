/**
 * `keep`: which rows of a topic are worth storing, compared with the last one that was.
 *
 * A row is left out while less than `minInterval` has passed, stored in any case once `maxInterval` has, and in between
 * stored if a watched column has changed: any difference, or, with a deadband, at least that much. Nothing happens
 * without a message: `maxInterval` does not make rows up.
 *
 * What was stored last is a short text; long values are in it as a digest. It carries the sequence of its delivery:
 * when the spool hands out earlier deliveries again, what was stored before them is not known, and they are stored.
 */
import { createHash } from "node:crypto";
import type { Memory } from "../decode/mod.ts";
import type { Delivery, RowColumn, SqlValue } from "../message.ts";
import { parseDuration } from "../units.ts";
import type { KeepOptions } from "./options.ts";

/** A change that a filter's memory makes when the row is really stored. */
export type Remember = () => void;

interface Watched {
  readonly index: number;
  /** Smallest difference that counts; 0: any. */
  readonly band: number;
}

const LENGTH_MAX = 100;

export class Keep {
  readonly #watched: readonly Watched[];
  readonly #minIntervalMs: number;
  readonly #maxIntervalMs: number;

  /** `columns`: those of the rows that it is asked about. Unknown names are `keepProblems`' business. */
  constructor(
    { onChange = [], deadband = {}, minIntervalMs = 0, maxIntervalMs = Infinity }: KeepOptions,
    columns: readonly RowColumn[],
  ) {
    const names = new Set([...onChange, ...Object.keys(deadband)]);
    this.#watched = columns.flatMap(({ name }, index) =>
      names.has(name) ? [{ index, band: Object.hasOwn(deadband, name) ? deadband[name] : 0 }] : []
    );
    this.#minIntervalMs = minIntervalMs;
    this.#maxIntervalMs = maxIntervalMs;
  }

  /** What to call once the row is sure to be stored; undefined where it is left out. `key`: what tells its rows apart. */
  admit(memory: Memory, key: string, values: readonly SqlValue[], delivery: Delivery): Remember | undefined {
    const name = shortened(key);
    const state = memory.get(name);
    const now = this.#watched.map(({ index }) => remembered(values[index]));
    if (state !== undefined && !this.#isWorth(state, now, delivery)) return undefined;
    return () => memory.set(name, JSON.stringify([delivery.sequence, delivery.receivedAtMs, ...now]));
  }

  #isWorth(state: string, now: readonly Remembered[], { sequence, receivedAtMs }: Delivery): boolean {
    const [lastSequence, lastMs, ...last] = JSON.parse(state) as [number, number, ...Remembered[]];
    if (sequence <= lastSequence) return true;
    // A wall clock that was set back says nothing about how much time has passed.
    const passedMs = receivedAtMs < lastMs ? Infinity : receivedAtMs - lastMs;
    if (passedMs < this.#minIntervalMs) return false;
    if (passedMs >= this.#maxIntervalMs || this.#watched.length === 0) return true;
    return last.length !== now.length ||
      this.#watched.some(({ band }, i) => hasChanged(last[i], now[i], band));
  }
}

/** The sequence of the delivery that is remembered as stored. */
export const sequenceIn = (state: string): number => (JSON.parse(state) as [number])[0];

/** A value as it is remembered: numbers and truth values as they are, texts with a letter before them. */
type Remembered = number | boolean | string | null;

function remembered(value: SqlValue): Remembered {
  if (typeof value === "string") return `t${shortened(value)}`;
  if (typeof value === "bigint") return `n${value}`;
  return value instanceof Uint8Array ? `b${digest(value)}` : value;
}

function hasChanged(before: Remembered, now: Remembered, band: number): boolean {
  if (before === now) return false;
  if (band === 0) return true;
  const difference = Math.abs(numberOf(before) - numberOf(now));
  // 0.3 - 0.2 is a little less than 0.1 to a computer, but not to people. NaN: one of them is no number.
  return !(difference < band * (1 - 1e-9));
}

function numberOf(value: Remembered): number {
  if (typeof value !== "string") return typeof value === "number" ? value : NaN;
  return /^[tn]-?[\d.]/.test(value) ? Number(value.slice(1)) : NaN;
}

const digest = (data: string | Uint8Array) => createHash("sha256").update(data).digest("base64");

const shortened = (text: string) => text.length <= LENGTH_MAX ? text : `#${digest(text)}`;

/** As a configuration writes it, before its durations are read. */
export interface KeepText extends KeepOptions {
  readonly minInterval?: string;
  readonly maxInterval?: string;
}

/** All that is wrong with the options, given the columns of the rows. */
export function keepProblems(
  { onChange = [], deadband = {}, by = [], ...rest }: KeepText,
  columns: readonly RowColumn[],
): { path: (string | number)[]; message: string }[] {
  const problems: { path: (string | number)[]; message: string }[] = [];
  const names = columns.map((it) => it.name);
  const check = (name: string, path: (string | number)[]) => {
    if (names.includes(name)) return;
    problems.push({ path, message: `"${name}" is no column of this route, which has ${names.join(", ")}` });
  };
  onChange.forEach((name, i) => check(name, ["onChange", i]));
  for (const name of Object.keys(deadband)) check(name, ["deadband", name]);
  by.forEach((name, i) => check(name, ["by", i]));
  const minIntervalMs = rest.minIntervalMs ?? durationOf(rest.minInterval);
  const maxIntervalMs = rest.maxIntervalMs ?? durationOf(rest.maxInterval);
  if (maxIntervalMs !== undefined) {
    if (onChange.length === 0 && Object.keys(deadband).length === 0) {
      problems.push({
        path: ["maxInterval"],
        message:
          `"maxInterval" needs "onChange" or "deadband": without them no row is left out for lack of change`,
      });
    }
    if (minIntervalMs !== undefined && maxIntervalMs < minIntervalMs) {
      problems.push({ path: ["maxInterval"], message: `"maxInterval" is shorter than "minInterval"` });
    }
  }
  return problems;
}

/** Undefined for what is no duration, which the schema has refused already. */
function durationOf(text: string | undefined): number | undefined {
  try {
    return text === undefined ? undefined : parseDuration(text);
  } catch {
    return undefined;
  }
}
