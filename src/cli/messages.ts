/**
 * Messages of the spool as commands show them: as data for programs, and as text that does a terminal no harm.
 */
import { sleep } from "../clock.ts";
import type { Message } from "../message.ts";
import type { Io } from "./command.ts";

const BREATH_EVERY = 256;

/** Prints line by line what may be much. Ends early when it was asked to, or when nobody reads on (`| head`). */
export async function printLines(lines: Iterable<string>, io: Io): Promise<number> {
  let count = 0;
  try {
    for (const line of lines) {
      io.out(line);
      // Signals come through only here.
      if (++count % BREATH_EVERY === 0) await sleep(0);
      if (io.signal.aborted) break;
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
  return count;
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The bytes as they are where they are text; else as base64. */
export function payloadFields(
  payload: Uint8Array,
): { readonly payload: string } | { readonly payload_base64: string } {
  try {
    return { payload: decoder.decode(payload) };
  } catch {
    return { payload_base64: payload.toBase64() };
  }
}

export function messageFields({ receivedAtMs, topic, payload, qos }: Message) {
  return { received_at: isoTime(receivedAtMs), topic, ...payloadFields(payload), qos };
}

export function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}

/** Without control characters, which could move the cursor or worse. Line breaks stay where `lines` is set. */
export function harmless(text: string, { lines = false } = {}): string {
  // deno-lint-ignore no-control-regex -- they are what it is about
  return text.replace(/[\x00-\x1f\x7f-\x9f]/g, (it) => {
    if (lines && (it === "\n" || it === "\t")) return it;
    return `\\x${it.charCodeAt(0).toString(16).padStart(2, "0")}`;
  });
}

/** For people. */
export function payloadText(payload: Uint8Array): string {
  const fields = payloadFields(payload);
  return "payload" in fields ? harmless(fields.payload, { lines: true }) : `base64:${fields.payload_base64}`;
}
