/**
 * Whatever it is: a number, else JSON if it parses, else text, else the bytes. Never fails. Other formats are never
 * guessed: many bytes are valid MessagePack by chance.
 */
import { BYTES_MAX } from "./limits.ts";
import { parseJson } from "./json.ts";
import { parseNumber } from "./number.ts";

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** How JSON begins that is no number. Most texts do not, and an error costs more than a look. */
const JSON_BEGINS = /^\s*[[{"tfn]/;

export function decodeAuto(payload: Uint8Array): unknown {
  let text: string;
  try {
    text = decoder.decode(payload);
  } catch {
    return payload;
  }
  const number = parseNumber(text.trim());
  if (number !== undefined) return number;
  if (payload.length > BYTES_MAX || !JSON_BEGINS.test(text)) return text;
  try {
    return parseJson(text);
  } catch {
    return text;
  }
}
