/**
 * Whether what lies in a column is the value that a payload has under a decoder: the same bytes, the same number, the
 * same JSON. It shares no code with the program.
 *
 * A double is the nearest one, and so is every number in MySQL's JSON; a number in a column that the route does not
 * declare is rounded as the column has digits.
 */

/** A value of a payload. Numbers keep the text that they were written with. */
type Value =
  | string
  | boolean
  | null
  | Uint8Array
  | NumberText
  | readonly Value[]
  | ReadonlyMap<string, Value>;

class NumberText {
  constructor(readonly text: string) {}
}

export type Decode = "json" | "text" | "bytes" | "auto" | "number";
export type Family =
  | "text"
  | "blob"
  | "integer"
  | "double"
  | "decimal"
  | "json"
  | "binary json"
  | "datetime"
  | "boolean";

export interface Stored {
  /** HEX(v); null for NULL. */
  readonly hex: string | null;
  /** v as text, where it is no binary value. */
  readonly text: string | null;
}

const NUMBER = /^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$/;

/** What is wrong, or null. */
export function difference(
  payload: Uint8Array,
  { decode, family }: { readonly decode: Decode; readonly family: Family },
  stored: Stored,
): string | null {
  const values = valuesOf(payload, decode);
  if (values.length === 0) return "stored, although it cannot be read";
  return values.some((it) => isSame(it, family, stored)) ? null : `stored as ${stored.text ?? stored.hex}`;
}

/** What the payload may be; `auto` reads a text that is JSON as such, or as it is. */
function valuesOf(payload: Uint8Array, decode: Decode): Value[] {
  if (decode === "bytes") return [payload];
  const text = utf8(payload);
  if (text === undefined) return decode === "auto" ? [payload] : [];
  const json = jsonOf(text);
  const number = NUMBER.test(text) ? [new NumberText(text.trim())] : [];
  switch (decode) {
    case "text":
      return [text];
    case "number":
      return number;
    case "json":
      return json === undefined ? [] : [json];
    case "auto":
      return [text, ...number, ...json === undefined ? [] : [json]];
  }
}

function utf8(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

type Reviver = (key: string, value: unknown, context: { source?: string }) => unknown;

function jsonOf(text: string): Value | undefined {
  try {
    const reviver: Reviver = (_key, value, { source }) => {
      if (typeof value === "number") return new NumberText(source!);
      if (
        value === null || typeof value !== "object" || Array.isArray(value) || value instanceof NumberText
      ) {
        return value;
      }
      return new Map(Object.entries(value));
    };
    return JSON.parse(text, reviver as (key: string, value: unknown) => unknown);
  } catch {
    return undefined;
  }
}

function isSame(value: Value, family: Family, stored: Stored): boolean {
  if (value === null) return stored.hex === null;
  if (stored.hex === null) return false;
  switch (family) {
    case "text":
    case "blob":
      return bytesOf(value).some((it) => it === stored.hex!.toLowerCase()) ||
        isSameText(value, unhexed(stored.hex));
    case "json":
      return isStoredJson(value, stored.text!, isSameNumber);
    case "binary json":
      return isStoredJson(value, stored.text!, (a, b) => Number(a) === Number(b));
    case "boolean":
      return isSameTruth(value, stored.text!) || isOwnAffair(value);
    case "datetime":
      return isSameTime(textOf(value), stored.text!);
    case "integer":
      return isNear(textOf(value), stored.text!, 0) || isOwnAffair(value);
    case "decimal":
      return isNear(textOf(value), stored.text!, 15);
    case "double":
      return Number(textOf(value)) === Number(stored.text);
  }
}

/** A text is JSON already, or becomes a JSON text; a truth value without a declared type is a number. */
function isStoredJson(value: Value, stored: string, isEqual: typeof isSameNumber): boolean {
  const json = jsonOf(stored);
  if (typeof value === "boolean" && isSameJson(new NumberText(String(Number(value))), json)) return true;
  const text = value instanceof Uint8Array ? utf8(value) ?? "" : value;
  return text === stored || isSameJson(text, json, isEqual) ||
    typeof text === "string" && isSameJson(jsonOf(text), json, isEqual);
}

const hex = (bytes: Uint8Array) => [...bytes].map((it) => it.toString(16).padStart(2, "0")).join("");
const unhexed = (text: string) => utf8(Uint8Array.from(text.match(/../g) ?? [], (it) => parseInt(it, 16)));

/** What a text or a blob may hold of it. */
function bytesOf(value: Value): string[] {
  if (value instanceof Uint8Array) return [hex(value)];
  if (typeof value === "string") return [hex(new TextEncoder().encode(value))];
  return [];
}

/** What is no text is written as one. */
function isSameText(value: Value, text: string | undefined): boolean {
  if (text === undefined || typeof value === "string" || value instanceof Uint8Array) return false;
  if (typeof value === "boolean") return text === String(value) || text === String(Number(value));
  if (value instanceof NumberText) return NUMBER.test(text) && isSameNumber(value.text, text);
  return isSameJson(value, jsonOf(text));
}

function textOf(value: Value): string {
  if (value instanceof NumberText) return value.text;
  if (typeof value === "boolean") return String(Number(value));
  return typeof value === "string" ? value : value instanceof Uint8Array ? utf8(value) ?? "" : "";
}

function isSameJson(a: Value | undefined, b: Value | undefined, isEqual = isSameNumber): boolean {
  if (a === undefined || b === undefined) return false;
  if (a instanceof NumberText) return b instanceof NumberText && isEqual(a.text, b.text);
  if (Array.isArray(a)) {
    return Array.isArray(b) && a.length === b.length && a.every((it, i) => isSameJson(it, b[i], isEqual));
  }
  if (a instanceof Map) {
    return b instanceof Map && a.size === b.size &&
      [...a].every(([key, it]) => isSameJson(it, b.get(key), isEqual));
  }
  return a === b;
}

/** An exponent says that it is a double. */
const isDouble = (text: string) => /[eE]/.test(text);

function isSameNumber(a: string, b: string): boolean {
  return isDouble(a) ? Number(a) === Number(b) : compare(exact(a), exact(b)) === 0;
}

/** A decimal number without limits: digits / 10^scale. */
interface Exact {
  readonly digits: bigint;
  readonly scale: number;
}

/** Every digit of a double. */
function spelledOut(double: number): string {
  return Math.abs(double) < 1e21 ? double.toFixed(100) : String(BigInt(double));
}

function exact(text: string): Exact {
  const [, sign, whole, fraction = "", exponent = "0"] =
    /^\s*([-+]?)(\d*)\.?(\d*)(?:[eE]([-+]?\d+))?\s*$/.exec(text) ?? [];
  const digits = BigInt(whole + fraction || "0") * (sign === "-" ? -1n : 1n);
  const scale = fraction.length - Number(exponent);
  return scale >= 0 ? { digits, scale } : { digits: digits * 10n ** BigInt(-scale), scale: 0 };
}

function compare(a: Exact, b: Exact): number {
  const scale = Math.max(a.scale, b.scale);
  const [left, right] = [a, b].map((it) => it.digits * 10n ** BigInt(scale - it.scale));
  return left < right ? -1 : left > right ? 1 : 0;
}

/** Equal but for rounding to so many digits behind the point. */
function isNear(text: string, stored: string, places: number): boolean {
  if (!NUMBER.test(text) || !NUMBER.test(stored)) return false;
  const number = Number(text);
  if (!Number.isFinite(number)) return false;
  if (isDouble(text) && number === Number(stored)) return true;
  const [a, b] = [exact(isDouble(text) ? spelledOut(number) : text), exact(stored)];
  const scale = Math.max(a.scale, b.scale, places + 1);
  const difference = a.digits * 10n ** BigInt(scale - a.scale) - b.digits * 10n ** BigInt(scale - b.scale);
  const limit = 5n * 10n ** BigInt(scale - places - 1);
  return difference <= limit && -difference <= limit;
}

/** Servers misread some texts with an exponent that go into a column of integers: MariaDB takes -95663.8644761510804886e-5 for 0. */
function isOwnAffair(value: Value): boolean {
  const text = value instanceof Uint8Array ? utf8(value) ?? "" : value;
  return typeof text === "string" && NUMBER.test(text) && isDouble(text);
}

function isSameTruth(value: Value, stored: string): boolean {
  const text = textOf(value).trim();
  const words = [
    /^(off|false|closed|offline|no|clear|not_home|unlocked)$/i,
    /^(on|true|open|online|yes|detected|home|locked)$/i,
  ];
  return NUMBER.test(text) ? isNear(text, stored, 0) : words[Number(stored)]?.test(text) ?? false;
}

/** Without an offset: what the server makes of numbers, and of texts that are no ISO time, is its own affair. */
function isSameTime(text: string, stored: string): boolean {
  if (/^\s*\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*(Z|[-+]\d\d:?\d\d)\s*$/i.test(text)) {
    return Temporal.Instant.from(text.trim()).epochMilliseconds ===
      Date.parse(`${stored.replace(" ", "T")}Z`);
  }
  const plain = /^\s*(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d:\d\d))?\s*$/.exec(text);
  return !plain || stored.startsWith(`${plain[1]} ${plain[2] ?? "00:00:00"}`);
}
