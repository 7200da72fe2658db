/**
 * Times as devices write them, to what a database takes: `YYYY-MM-DD HH:MM:SS.ffffff` in UTC, with as many digits of the
 * second as the column has; what is finer is cut off, never rounded up into the next second.
 *
 * Whether a number is seconds or milliseconds is never guessed: the column names the kind.
 */
import type { ColumnType } from "../column_type.ts";
import { shown, UnfitError } from "./unfit_error.ts";
import type { TimeKind } from "./options.ts";

const DIGITS: Readonly<Record<string, number>> = { epoch_s: 0, epoch_ms: 3, epoch_us: 6, epoch_ns: 9 };
const NUMBER = /^\s*([-+]?)(\d+)(?:\.(\d+))?\s*$/;
const WITH_OFFSET = /:.*(?:z|[-+]\d\d(?::?\d\d)?)$/i;
const PLAIN = /^\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?$/i;

const NS_PER_SECOND = 1_000_000_000n;
/** What DATETIME holds: the years 1000 to 9999. */
const SECONDS_MIN = -30_610_224_000n, SECONDS_MAX = 253_402_300_799n;

let lastSecond = NaN;
let lastText = "";

function secondText(second: number): string {
  if (second !== lastSecond) {
    lastSecond = second;
    lastText = new Date(second * 1_000).toISOString().slice(0, 19).replace("T", " ");
  }
  return lastText;
}

/** `YYYY-MM-DD HH:MM:SS.mmm` in UTC. */
export function sqlTime(ms: number): string {
  const second = Math.floor(ms / 1_000);
  return `${secondText(second)}.${String(Math.floor(ms - second * 1_000)).padStart(3, "0")}`;
}

/** `digits` of the second: 0 to 9. */
function formatTime(ns: bigint, digits: number): string {
  let second = ns / NS_PER_SECOND;
  if (ns % NS_PER_SECOND < 0n) second -= 1n;
  if (second < SECONDS_MIN || second > SECONDS_MAX) {
    throw new UnfitError("the time lies outside of the years 1000 to 9999: is its kind the right one?");
  }
  const text = secondText(Number(second));
  const fraction = String(ns - second * NS_PER_SECOND).padStart(9, "0").slice(0, digits);
  return digits === 0 ? text : `${text}.${fraction}`;
}

/** A value of the kind as a time for the column. Throws `TypeError` for a zone that is none or a column that takes no time. */
export function compileTime(
  kind: TimeKind,
  zone: string | undefined,
  type: ColumnType,
): (value: unknown) => string | null {
  if (!["datetime", "date", "time", "text"].includes(type.family)) {
    throw new TypeError(`"time" gives a time, which ${type.name} does not take: use datetime(3)`);
  }
  if (zone !== undefined && kind !== "local") throw new TypeError(`"zone" is only for "time": "local"`);
  if (zone !== undefined) assertZone(zone);
  const read = kind === "iso"
    ? instantOf
    : kind === "local"
    ? (value: unknown) => localOf(value, zone ?? "UTC")
    : (value: unknown) => epochOf(value, kind);
  const digits = type.family === "text" ? 3 : Math.min(type.precision ?? 0, 6);
  return (value) => {
    if (value === undefined || value === null) return null;
    const text = formatTime(read(value), digits);
    return type.family === "date" ? text.slice(0, 10) : type.family === "time" ? text.slice(11) : text;
  };
}

/** The type of a column that has a kind of time and no type. */
export const timeType = (kind: TimeKind): string =>
  kind === "epoch_us" || kind === "epoch_ns" ? "datetime(6)" : "datetime(3)";

function assertZone(zone: string): void {
  try {
    Temporal.PlainDateTime.from("2000-01-01").toZonedDateTime(zone);
  } catch {
    throw new TypeError(`"${zone}" is no time zone: expected one like Europe/Berlin or UTC`);
  }
}

function epochOf(value: unknown, kind: TimeKind): bigint {
  const match = numberIn(value);
  if (!match) return refuse(value, `a number as ${kind} needs it`);
  const [, sign, whole, fraction = ""] = match;
  const digits = 9 - DIGITS[kind];
  const ns = BigInt(whole + fraction.slice(0, digits).padEnd(digits, "0"));
  return sign === "-" ? -ns : ns;
}

function numberIn(value: unknown): RegExpExecArray | null {
  return ["number", "bigint", "string"].includes(typeof value) ? NUMBER.exec(String(value)) : null;
}

function instantOf(value: unknown): bigint {
  try {
    return Temporal.Instant.from(textOf(value)).epochNanoseconds;
  } catch {
    const hint = PLAIN.test(textOf(value)) ? `: it has no offset, use "time": "local" with a zone` : "";
    return refuse(value, `a time like 2024-05-01T12:00:00+02:00${hint}`);
  }
}

/** A clock that is set forward skips an hour and one that is set back has an hour twice: the later, then the earlier, as calendars do. */
function localOf(value: unknown, zone: string): bigint {
  const text = textOf(value);
  if (WITH_OFFSET.test(text)) return instantOf(text);
  try {
    return Temporal.PlainDateTime.from(text).toZonedDateTime(zone, { disambiguation: "compatible" })
      .epochNanoseconds;
  } catch {
    return refuse(value, "a time like 2024-05-01T12:00:00");
  }
}

/** A value for a column of a time type that names no kind: text that can only mean one time, in UTC. */
export function plainTime(value: unknown, type: ColumnType): string {
  const text = typeof value === "string" ? value.trim() : "";
  if (type.family === "time" && /^-?\d{1,3}:\d\d(?::\d\d(?:\.\d+)?)?$/.test(text)) return text;
  if (WITH_OFFSET.test(text)) return compileTime("iso", undefined, type)(text)!;
  if (PLAIN.test(text)) return compileTime("local", undefined, type)(text)!;
  const hint = numberIn(value) ? `; for a number say which kind, like "time": "epoch_s"` : "";
  return refuse(value, `a time like 2024-05-01 12:00:00${hint}`);
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value.trim() : "";
}

function refuse(value: unknown, what: string): never {
  throw new UnfitError(`${shown(value)} is not ${what}`);
}
