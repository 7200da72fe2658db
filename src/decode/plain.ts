/**
 * Plain data from what a binary format's library hands over: objects with keys of their own, arrays, texts, numbers,
 * bigint only where a number is not exact, truth values, null, bytes.
 *
 * A key like `__proto__` is a key like any other. A map's key that is no text becomes text: a number its digits,
 * bytes their hexadecimal digits. An array or a map as a key is refused.
 */
import { DEPTH_MAX } from "./limits.ts";
import { UnreadableError } from "./unreadable_error.ts";

export type PlainObject = Record<string, unknown>;

/** Stands for the key `__proto__` in objects of a library that cannot hold it. */
export const PROTO = Symbol("__proto__");

export function plain(value: unknown, levels = 0): unknown {
  switch (typeof value) {
    case "undefined":
      return null;
    case "bigint":
      return exact(value);
    case "symbol":
    case "function":
      throw new UnreadableError("a value ends where none may end");
    case "object":
      break;
    default:
      return value;
  }
  if (value === null) return null;
  if (value instanceof Uint8Array) {
    return value.constructor === Uint8Array
      ? value
      : new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  }
  if (levels >= DEPTH_MAX) throw new UnreadableError(`nested deeper than ${DEPTH_MAX} levels`);
  if (Array.isArray(value)) return value.map((it) => plain(it, levels + 1));
  const object: PlainObject = {};
  for (const [key, inner] of value instanceof Map ? value : entries(value)) {
    own(object, keyText(key), plain(inner, levels + 1));
  }
  return object;
}

/** Sets a property that is the object's own, whatever it is called. */
export function own(object: PlainObject, key: string, value: unknown): void {
  if (key !== "__proto__") object[key] = value;
  else Object.defineProperty(object, key, { value, enumerable: true, configurable: true, writable: true });
}

/** A number where it is exact, else the bigint. */
export function exact(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

/** A time in UTC: `2024-05-01T12:00:00.000Z`, with as many digits as the nanoseconds need. */
export function isoTime(seconds: number, nanoseconds: number): string {
  const date = new Date(seconds * 1_000 + Math.floor(nanoseconds / 1e6));
  if (Number.isNaN(date.getTime()) || !(nanoseconds >= 0 && nanoseconds < 1e9)) {
    throw new UnreadableError(`${seconds} seconds and ${nanoseconds} nanoseconds since 1970 are no time`);
  }
  const rest = String(nanoseconds % 1e6).padStart(6, "0").replace(/(000)+$/, "");
  return date.toISOString().replace("Z", `${rest}Z`);
}

export function keyText(key: unknown): string {
  if (key === PROTO) return "__proto__";
  if (key instanceof Uint8Array) return [...key].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  if (typeof key === "object" && key !== null) throw new UnreadableError("an array or a map as a key");
  if (typeof key === "symbol") throw new UnreadableError("a map ends where none may end");
  return String(key);
}

function entries(object: object): [key: unknown, value: unknown][] {
  return Reflect.ownKeys(object).map((key) => [key, (object as Record<string | symbol, unknown>)[key]]);
}
