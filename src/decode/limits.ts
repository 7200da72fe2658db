/**
 * How much a payload with structure may hold. Larger and deeper ones are refused, because a few bytes can describe a
 * value that fills the memory or overflows the stack. Text and bytes have no limit but that of an MQTT packet.
 */
import { UnreadableError } from "./unreadable_error.ts";

/** Levels of arrays and objects: what a JSON document may have in MySQL (error 3157). */
export const DEPTH_MAX = 100;
/** Values of any kind in one payload. */
export const VALUES_MAX = 250_000;
export const BYTES_MAX = 4 * 1024 * 1024;

export function refuseHuge(payload: Uint8Array, format: string): void {
  if (payload.length === 0) throw new UnreadableError(`not ${format}: the payload is empty`);
  if (payload.length > BYTES_MAX) {
    throw new UnreadableError(
      `the payload has ${payload.length} bytes; as ${format} it may have ${BYTES_MAX}, as text or bytes any number`,
    );
  }
}

/** How often characters occur in a text. Stops beyond `max`. */
export function countOf(characters: readonly string[], text: string, max: number): number {
  let count = 0;
  for (const character of characters) {
    for (let at = text.indexOf(character); at >= 0 && count <= max; at = text.indexOf(character, at + 1)) {
      count++;
    }
  }
  return count;
}

/** Whether plain data has more levels than `DEPTH_MAX`. */
export function isTooDeep(value: unknown, levels = 0): boolean {
  if (value === null || typeof value !== "object") return false;
  return levels >= DEPTH_MAX || Object.values(value).some((inner) => isTooDeep(inner, levels + 1));
}
