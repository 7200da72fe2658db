/**
 * CBOR (RFC 8949) as plain data; see `plain.ts` for keys that are no text.
 *
 * Times (tag 1) come out as ISO text in UTC, to the microsecond; times that are text (tag 0) as they are. Large
 * integers (tags 2 and 3) are bigint, decimal fractions (tag 4) numbers. Every other tag is seen through: its content
 * is the value. Strings of unknown length and simple values without a meaning are refused.
 */
import { decode, type Token, Tokenizer, Type } from "cborg";
import { refuseHuge, VALUES_MAX } from "./limits.ts";
import { parseNumber } from "./number.ts";
import { isoTime, plain } from "./plain.ts";
import { decodeText } from "./text.ts";
import { UnreadableError } from "./unreadable_error.ts";

/** 1024 bits are as many as a double's range. */
const BIG_BYTES_MAX = 128;

type Content = () => unknown;

const TAGS: Readonly<Record<number, (content: Content) => unknown>> = {
  1: (content) => time(content()),
  2: (content) => big(content()),
  3: (content) => -1n - big(content()),
  4: (content) => decimal(content()),
};

export function decodeCbor(payload: Uint8Array): unknown {
  refuseHuge(payload, "CBOR");
  const tokenizer = new CheckedTokenizer(payload);
  try {
    return plain(decode(payload, { tokenizer, useMaps: true, tags: TAGS as Record<number, () => unknown> }));
  } catch (error) {
    const { message } = error as Error;
    throw new UnreadableError(
      error instanceof RangeError
        ? "not CBOR that can be kept: nested too deep"
        : `not CBOR, read up to byte ${tokenizer.pos()}: ${message.replace(/^CBOR decode error: /, "")}`,
    );
  }
}

/** Counts values, passes by tags without a meaning here, and takes no text that is not UTF-8. */
class CheckedTokenizer extends Tokenizer {
  #values = 0;

  constructor(payload: Uint8Array) {
    super(payload, { allowBigInt: true, retainStringBytes: true });
  }

  override next(): Token {
    let token: Token;
    do {
      if (this.done()) throw new Error("the payload ends before its value does");
      if (++this.#values > VALUES_MAX) throw new Error(`more than ${VALUES_MAX} values`);
      token = super.next();
    } while (Type.equals(token.type, Type.tag) && !Object.hasOwn(TAGS, token.value));
    const { byteValue } = token;
    if (byteValue?.some((byte) => byte > 0x7f)) token.value = decodeText(byteValue);
    return token;
  }
}

function time(seconds: unknown): string {
  if (typeof seconds !== "number") throw new UnreadableError("a time that is no number of seconds");
  const whole = Math.floor(seconds);
  const microseconds = Math.round((seconds - whole) * 1e6);
  return microseconds < 1e6 ? isoTime(whole, microseconds * 1_000) : isoTime(whole + 1, 0);
}

function big(bytes: unknown): bigint {
  if (!(bytes instanceof Uint8Array)) throw new UnreadableError("a large integer that is not made of bytes");
  if (bytes.length > BIG_BYTES_MAX) throw new UnreadableError(`an integer of ${bytes.length} bytes`);
  return bytes.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}

function decimal(parts: unknown): unknown {
  const [exponent, mantissa] = Array.isArray(parts) ? parts : [];
  const number = parseNumber(`${mantissa}e${exponent}`);
  if (number === undefined) throw new UnreadableError("a decimal fraction that is no number");
  return number;
}
