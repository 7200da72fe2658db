/**
 * The payload formats, by name. A decoder is a pure function from bytes to a value; what it cannot read it refuses
 * with an `UnreadableError` that says where and why.
 */
import { decodeAuto } from "./auto.ts";
import { decodeCbor } from "./cbor.ts";
import type { Context } from "./context.ts";
import { decodeCsv } from "./csv.ts";
import { decodeJson } from "./json.ts";
import { decodeMsgpack } from "./msgpack.ts";
import { decodeNumber } from "./number.ts";
import { decodeSparkplug } from "./sparkplug.ts";
import { decodeText } from "./text.ts";

export { UnreadableError } from "./unreadable_error.ts";

export type { Context, Memory } from "./context.ts";

export type Decoder = (payload: Uint8Array, context?: Context) => unknown;

export const DECODER: Readonly<Record<string, Decoder>> = {
  json: decodeJson,
  number: decodeNumber,
  text: decodeText,
  bytes: (payload) => payload,
  cbor: decodeCbor,
  msgpack: decodeMsgpack,
  sparkplug: decodeSparkplug,
  csv: decodeCsv,
  auto: decodeAuto,
};
