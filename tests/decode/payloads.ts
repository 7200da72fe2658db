/**
 * Payloads for the tests of decoders, written as text or as hexadecimal digits, and what a refusal must look like.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { type Decoder, UnreadableError } from "../../src/decode/mod.ts";

const encoder = new TextEncoder();

export function utf8(text: string): Uint8Array {
  return encoder.encode(text);
}

export function hex(digits: string): Uint8Array {
  return Uint8Array.from(digits.match(/[0-9a-f]{2}/gi) ?? [], (byte) => parseInt(byte, 16));
}

/** `count` times the bytes, one after the other. */
export function repeated(bytes: Uint8Array, count: number): Uint8Array {
  const all = new Uint8Array(bytes.length * count);
  for (let i = 0; i < count; i++) all.set(bytes, i * bytes.length);
  return all;
}

export function joined(...parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

/** The decoder refuses the payload, and its reason matches. */
export function assertRefused(decode: Decoder, payload: Uint8Array, reason: RegExp): void {
  assert.throws(() => decode(payload), (error: unknown) => {
    assert.ok(error instanceof UnreadableError, `${error}`);
    assert.match(error.message, reason);
    return true;
  });
}

/** Sets an own property, also where it is called `__proto__`. */
export function withOwn(key: string, value: unknown): Record<string, unknown> {
  return Object.defineProperty({}, key, { value, enumerable: true, configurable: true, writable: true });
}

/** Integers that a number holds exactly, and such that it does not. */
export const integer = fc.oneof(
  fc.maxSafeInteger(),
  fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n).map((it) => Number.isSafeInteger(Number(it)) ? Number(it) : it),
);

/** Data as binary formats carry it. Objects have a prototype, so that they equal what a decoder makes. */
export const data = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 5, depthSize: "small" },
    fc.string({ unit: "grapheme" }),
    integer,
    fc.double().map((it) => Object.is(it, -0) ? 0 : it),
    fc.boolean(),
    fc.constant(null),
    fc.uint8Array(),
    fc.array(tie("value"), { maxLength: 5 }),
    fc.dictionary(fc.string(), tie("value"), { maxKeys: 5, noNullPrototype: true }),
  ),
})).value;
