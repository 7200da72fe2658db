/**
 * The payload formats, by name. A decoder is a pure function from bytes to a value; what it cannot read it refuses
 * with an `UnreadableError` that says where and why.
 */
import { decodeAuto } from "./auto.ts";
import { decodeJson } from "./json.ts";
import { decodeNumber } from "./number.ts";
import { decodeText } from "./text.ts";

export { UnreadableError } from "./unreadable_error.ts";

/** What earlier messages left behind: texts by key, kept over restarts. A `Map` will do. */
export interface Memory {
  get(key: string): string | undefined;
  set(key: string, value: string): unknown;
}

/** What a decoder may look at besides the payload. Without it, nothing is known and nothing is remembered. */
export interface Context {
  readonly topic: string;
  readonly memory: Memory;
}

export type Decoder = (payload: Uint8Array, context?: Context) => unknown;

export const DECODER: Readonly<Record<string, Decoder>> = {
  json: decodeJson,
  number: decodeNumber,
  text: decodeText,
  bytes: (payload) => payload,
  auto: decodeAuto,
};
