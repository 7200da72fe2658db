/**
 * Messages in a file, a JSON object in each line, as `spool export` and `dead list --json` print them and as people
 * write them. Read bit by bit: the file may be larger than memory.
 */
import { systemClock } from "../clock.ts";
import { messageOf } from "../errors.ts";
import type { Message, QoS } from "../message.ts";

/** A line that is a message, or why it is none. Lines are counted from 1. */
export type ReadLine = { readonly message: Message } | { readonly line: number; readonly fault: string };

/** Empty lines are passed over. `-` is stdin. Throws what reading the file throws. */
export async function* readMessages(path: string): AsyncGenerator<ReadLine> {
  const stream = path === "-" ? Deno.stdin.readable : (await Deno.open(path)).readable;
  let line = 0, rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    for (const it of lines) yield* read(it, ++line);
  }
  yield* read(rest, ++line);
}

function* read(text: string, line: number): Generator<ReadLine> {
  if (text.trim() === "") return;
  try {
    yield { message: messageIn(parse(text)) };
  } catch (error) {
    yield { line, fault: messageOf(error) };
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new TypeError(`not JSON: ${messageOf(error).replace(/ in JSON at position \d+.*$/, "")}`);
  }
}

function messageIn(it: unknown): Message {
  if (it === null || typeof it !== "object" || Array.isArray(it)) {
    throw new TypeError("expected a JSON object");
  }
  const { topic, payload, payload_base64, qos = 1, retain = false, received_at } = it as Record<
    string,
    unknown
  >;
  if (typeof topic !== "string" || topic === "") throw new TypeError('"topic" is missing');
  const receivedAtMs = received_at === undefined ? systemClock.wallMs() : Date.parse(String(received_at));
  if (Number.isNaN(receivedAtMs)) {
    throw new TypeError(`"received_at" is no time: ${JSON.stringify(received_at)}`);
  }
  return {
    topic,
    payload: bytesOf(payload, payload_base64),
    qos: [0, 1, 2].includes(qos as number) ? qos as QoS : 1,
    retain: retain === true,
    receivedAtMs,
  };
}

function bytesOf(payload: unknown, base64: unknown): Uint8Array {
  if (typeof base64 === "string") {
    try {
      return Uint8Array.fromBase64(base64);
    } catch {
      throw new TypeError('"payload_base64" is not base64');
    }
  }
  if (payload === undefined) throw new TypeError('"payload" or "payload_base64" is missing');
  return new TextEncoder().encode(typeof payload === "string" ? payload : JSON.stringify(payload));
}
