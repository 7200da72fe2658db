/**
 * UTF-8 text. Invalid UTF-8 is refused, so that no byte is ever altered on its way; a byte order mark stays.
 */
import { UnreadableError } from "./unreadable_error.ts";

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export function decodeText(payload: Uint8Array): string {
  try {
    return decoder.decode(payload);
  } catch {
    throw new UnreadableError(`not valid UTF-8 (${payload.length} bytes)`);
  }
}
