/**
 * Whatever it is: JSON if it parses, else a number, else text, else the bytes. Never fails.
 */
import { parseJson } from "./json.ts";
import { parseNumber } from "./number.ts";

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export function decodeAuto(payload: Uint8Array): unknown {
  let text: string;
  try {
    text = decoder.decode(payload);
  } catch {
    return payload;
  }
  const number = parseNumber(text.trim());
  if (number !== undefined) return number;
  try {
    return parseJson(text);
  } catch {
    return text;
  }
}
