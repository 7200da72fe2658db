/**
 * JSON without loss: integers beyond 2^53 become bigint, and decimals that a double cannot hold stay as their text.
 *
 * Reading every number's source text costs several times as much, so it is done only where a text has a number that
 * is long enough to need it.
 */
import { decodeText } from "./text.ts";
import { UnreadableError } from "./unreadable_error.ts";

/** A number of 16 digits or more, with or without a point. */
const LONG_NUMBER = /\d[\d.]{15,}/;

export function decodeJson(payload: Uint8Array): unknown {
  if (payload.length === 0) throw new UnreadableError("not JSON: the payload is empty");
  return parseJson(decodeText(payload));
}

export function parseJson(text: string): unknown {
  try {
    return LONG_NUMBER.test(text)
      ? JSON.parse(text, exactNumber as (key: string, value: unknown) => unknown)
      : JSON.parse(text);
  } catch (error) {
    throw new UnreadableError(
      `not JSON: ${(error as Error).message.replace(/^.*?JSON\.parse: /, "").replace(/\s+/g, " ")}`,
    );
  }
}

function exactNumber(_key: string, value: unknown, context: { source?: string }): unknown {
  if (typeof value !== "number" || context?.source === undefined) return value;
  const { source } = context;
  if (Number.isSafeInteger(value) || String(value) === source) return value;
  if (/^-?\d+$/.test(source)) return BigInt(source);
  const digits = source.replace(/[eE].*$/, "").replace(/[-.]/g, "").replace(/^0+/, "").replace(/0+$/, "");
  return digits.length > 15 && !/[eE]/.test(source) ? source : value;
}
