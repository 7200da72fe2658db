/**
 * From a decoded value to what a column takes. With a declared type the value is converted or refused, without one it
 * goes as it is: numbers, texts, truth values; objects and arrays as JSON text.
 *
 * What a database would alter silently or misread (NaN, infinities, lone surrogates, a `T` in a time) never leaves here.
 */
import type { ColumnType } from "../column_type.ts";
import type { SqlValue } from "../message.ts";
import { wasNumber } from "../decode/json.ts";
import { parseNumber } from "../decode/number.ts";
import { fitDecimal } from "./decimal.ts";
import { plainTime } from "./time.ts";
import { shown, UnfitError } from "./unfit_error.ts";

const INTEGER_BITS: Readonly<Record<string, number>> = {
  tinyint: 8,
  smallint: 16,
  mediumint: 24,
  int: 32,
  bigint: 64,
};
const TRUE = /^(on|true|open|online|yes|1|detected|home|locked)$/i;
const FALSE = /^(off|false|closed|offline|no|0|clear|not_home|unlocked)$/i;

export function natural(value: unknown): SqlValue {
  if (value === undefined || value === null) return null;
  switch (typeof value) {
    case "number":
      if (!Number.isFinite(value)) throw new UnfitError(`${value} is not a number that a database can hold`);
      return digits(value);
    case "string":
      return wellFormed(value);
    case "boolean":
    case "bigint":
      return value;
  }
  if (value instanceof Uint8Array) return value;
  return jsonText(value);
}

export function convert(value: unknown, type: ColumnType): SqlValue {
  if (value === undefined || value === null) return null;
  switch (type.family) {
    case "boolean":
      return toBoolean(value);
    case "integer":
      return type.name === "tinyint" && typeof value === "string" && !/^\s*[-+]?\d/.test(value)
        ? toBoolean(value)
        : toInteger(value, type);
    case "float":
      return toFloat(value, type);
    case "decimal":
      return toDecimal(value, type);
    case "text":
      return toText(value, type);
    case "binary":
      return typeof value === "string"
        ? new TextEncoder().encode(value)
        : value instanceof Uint8Array
        ? value
        : new TextEncoder().encode(jsonText(value));
    case "json":
      return typeof value === "string"
        ? jsonString(value)
        : value instanceof Uint8Array
        ? refuse(value, "JSON")
        : jsonText(value);
    case "datetime":
    case "date":
    case "time":
      return plainTime(value, type);
  }
}

function refuse(value: unknown, what: string): never {
  throw new UnfitError(`${shown(value)} is not ${what}`);
}

function toBoolean(value: unknown): SqlValue {
  if (typeof value === "boolean") return value;
  return (typeof value === "object" ? undefined : truthOf(String(value))) ??
    refuse(value, "a truth value like on/off, true/false, open/closed or 1/0");
}

/** What a text says that stands for a truth value; undefined for any other. */
export function truthOf(text: string): boolean | undefined {
  const word = text.trim();
  return TRUE.test(word) ? true : FALSE.test(word) ? false : undefined;
}

/**
 * A whole number beyond 2^53 as the digits that it was written with. A double stands for the shortest number that reads
 * back as itself; a database would spell its binary value out instead, and end in other digits.
 */
function digits<T>(value: T): T | bigint {
  if (typeof value !== "number" || Number.isSafeInteger(value) || !Number.isInteger(value)) return value;
  return Math.abs(value) < 1e21 ? BigInt(String(value)) : value;
}

function numberOf(value: unknown, what: string): number | bigint | string {
  if (typeof value === "boolean") return value ? 1 : 0;
  if (typeof value === "bigint") return value;
  if (typeof value === "number") return Number.isFinite(value) ? value : refuse(value, what);
  if (typeof value === "string") return parseNumber(value.trim()) ?? refuse(value, what);
  return refuse(value, what);
}

function toInteger(value: unknown, type: ColumnType): SqlValue {
  const number = numberOf(value, "a whole number");
  if (typeof number === "string" || (typeof number === "number" && !Number.isInteger(number))) {
    return refuse(value, "a whole number");
  }
  const bits = BigInt(INTEGER_BITS[type.name]);
  const [least, most] = type.unsigned
    ? [0n, (1n << bits) - 1n]
    : [-(1n << (bits - 1n)), (1n << (bits - 1n)) - 1n];
  const exact = digits(number);
  const big = BigInt(exact);
  if (big < least || big > most) {
    throw new UnfitError(
      `${number} is outside of ${type.name}${type.unsigned ? " unsigned" : ""} (${least} to ${most})`,
    );
  }
  return Number.isSafeInteger(Number(big)) ? Number(big) : big;
}

const FLOAT_MAX = 3.4028234663852886e38;

function toFloat(value: unknown, type: ColumnType): SqlValue {
  const number = Number(numberOf(value, "a number"));
  if (type.name === "float" && Math.abs(number) > FLOAT_MAX || type.unsigned && number < 0) {
    throw new UnfitError(`${number} is outside of ${type.sql.toLowerCase()}`);
  }
  return number;
}

function toDecimal(value: unknown, type: ColumnType): SqlValue {
  const number = numberOf(value, "a number");
  return fitDecimal(digits(number), type);
}

function toText(value: unknown, type: ColumnType): SqlValue {
  if (value instanceof Uint8Array) return refuse(value, "text");
  const text = typeof value === "string"
    ? wellFormed(value)
    : typeof value === "object"
    ? jsonText(value)
    : String(value);
  const counted = type.name === "varchar" || type.name === "char";
  const length = counted ? [...text].length : new TextEncoder().encode(text).length;
  if (type.length !== undefined && text.length > type.length / 4 && length > type.length) {
    throw new UnfitError(
      `the text has ${length} ${counted ? "characters" : "bytes"}, the column takes ${type.length}`,
    );
  }
  return text;
}

/** The beginning of a text that fits the column. */
export function truncate(value: unknown, type: ColumnType): SqlValue {
  const text = typeof value === "object" ? jsonText(value) : String(value);
  return [...text.toWellFormed()].slice(
    0,
    type.name === "varchar" || type.name === "char" ? type.length : Math.floor((type.length ?? 4) / 4),
  ).join("");
}

function wellFormed(text: string): string {
  if (!text.isWellFormed()) {
    throw new UnfitError("the text has half of a surrogate pair, which is no Unicode character");
  }
  return text;
}

/** A text as JSON. One that may as well be a number of more digits than a double has is neither for sure. */
function jsonString(text: string): string {
  const isTooLarge = JSON_NUMBER.test(text) && !Number.isFinite(Number(text));
  if (isTooLarge || typeof parseNumber(text) === "string") {
    throw new UnfitError(`${shown(text)} may be a text or a number, which JSON tells apart`);
  }
  return JSON.stringify(wellFormed(text));
}

const JSON_NUMBER = /^-?\d+(\.\d+)?([eE][-+]?\d+)?$/;

export function jsonText(value: unknown): string {
  return JSON.stringify(value, asWritten);
}

function asWritten(this: object, key: string, value: unknown): unknown {
  if (typeof value === "bigint") return JSON.rawJSON(String(value));
  return typeof value === "string" && wasNumber(this, key, value) ? JSON.rawJSON(value) : value;
}

declare global {
  interface JSON {
    /** https://github.com/tc39/proposal-json-parse-with-source */
    rawJSON(text: string): unknown;
  }
}
