/**
 * The payload formats, by name. A decoder is a pure function from bytes to a value; what it cannot read it refuses
 * with an `UnreadableError` that says where and why.
 */
import { decodeAuto } from "./auto.ts";
import { decodeJson } from "./json.ts";
import { decodeNumber } from "./number.ts";
import { decodeText } from "./text.ts";

export { UnreadableError } from "./unreadable_error.ts";

export type Decoder = (payload: Uint8Array) => unknown;

export const DECODER: Readonly<Record<string, Decoder>> = {
  json: decodeJson,
  number: decodeNumber,
  text: decodeText,
  bytes: (payload) => payload,
  auto: decodeAuto,
};
