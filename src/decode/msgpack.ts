/**
 * MessagePack as plain data; see `plain.ts` for keys that are no text.
 *
 * Timestamps (extension -1) come out as ISO text in UTC, to the nanosecond; other extensions as `{ type, data }`.
 */
import { DecodeError, Decoder, decodeTimestampToTimeSpec, ExtensionCodec } from "@msgpack/msgpack";
import { refuseHuge, VALUES_MAX } from "./limits.ts";
import { isoTime, keyText, plain, PROTO } from "./plain.ts";
import { decodeText } from "./text.ts";
import { UnreadableError } from "./unreadable_error.ts";

const extensionCodec = new ExtensionCodec();
extensionCodec.register({
  type: -1,
  encode: () => null,
  decode: (data) => {
    const { sec, nsec } = decodeTimestampToTimeSpec(data);
    return isoTime(sec, nsec);
  },
});

/** What the library's decoder keeps to itself. Its version is pinned, and tests hold each of these. */
interface Inside {
  bytes: Uint8Array;
  pos: number;
  stateIsMapKey(): boolean;
  pushArrayState(size: number): void;
  pushMapState(size: number): void;
  decodeUtf8String(length: number, headerLength: number): unknown;
}

export function decodeMsgpack(payload: Uint8Array): unknown {
  refuseHuge(payload, "MessagePack");
  const decoder = checkedDecoder(payload.length);
  try {
    return plain(decoder.decode(payload));
  } catch (error) {
    const { pos } = decoder as unknown as Inside;
    const { message } = error as Error;
    const reason = error instanceof RangeError && !message.startsWith("Extra")
      ? "the payload ends before its value does"
      : message;
    throw new UnreadableError(`not MessagePack, read up to byte ${pos}: ${reason}`);
  }
}

/**
 * The library makes room for as many values as an array announces, and five bytes can announce four thousand million:
 * so no more values may be announced than there are bytes. It also takes any bytes for text.
 */
function checkedDecoder(length: number): Decoder {
  const decoder = new Decoder({
    useBigInt64: true,
    extensionCodec,
    mapKeyConverter: (key) => key as unknown === PROTO ? key as string : keyText(key),
  });
  const inside = decoder as unknown as Inside;
  const { pushArrayState, pushMapState } = inside;
  let announced = 0;
  const announce = (values: number) => {
    announced += values;
    if (announced > length) throw new DecodeError(`it announces ${announced} values in ${length} bytes`);
    if (announced > VALUES_MAX) throw new DecodeError(`more than ${VALUES_MAX} values`);
  };
  inside.pushArrayState = (size) => {
    announce(size);
    pushArrayState.call(decoder, size);
  };
  inside.pushMapState = (size) => {
    announce(2 * size);
    pushMapState.call(decoder, size);
  };
  inside.decodeUtf8String = (textLength, headerLength) => {
    const start = inside.pos + headerLength;
    const end = start + textLength;
    if (end > inside.bytes.length) throw new DecodeError("the payload ends within a text");
    const text = decodeText(inside.bytes.subarray(start, end));
    inside.pos = end;
    return text === "__proto__" && inside.stateIsMapKey() ? PROTO : text;
  };
  return decoder;
}
