/**
 * One number as text, as plain sensors send it: `21.5`, `-3`, `1e3`. Spaces around it are allowed.
 */
import { decodeText } from "./text.ts";
import { UnreadableError } from "./unreadable_error.ts";

/** No two parts of it can match the same digit, so that a long text costs no more than its length. */
const NUMBER = /^[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?$/;
/** A double has 309 digits before its point at most, a DECIMAL 65; arithmetic on more is what an attacker sends. */
const LENGTH_MAX = 400;

export function decodeNumber(payload: Uint8Array): number | bigint | string {
  const text = decodeText(payload).trim();
  const number = parseNumber(text);
  if (number === undefined) throw new UnreadableError(`not a number: "${text.slice(0, 40)}"`);
  return number;
}

/** A number without loss: a bigint or the text itself where a double cannot hold it. */
export function parseNumber(text: string): number | bigint | string | undefined {
  if (text.length > LENGTH_MAX || !NUMBER.test(text)) return undefined;
  const value = Number(text);
  if (!Number.isFinite(value)) return undefined;
  if (/^[-+]?\d+$/.test(text)) return Number.isSafeInteger(value) ? value : BigInt(text);
  const digits = text.replace(/[eE].*$/, "").replace(/[-+.]/g, "").replace(/^0+/, "").replace(/0+$/, "");
  return digits.length > 15 && !/[eE]/.test(text) && String(value) !== text ? text.replace(/^\+/, "") : value;
}
