import assert from "node:assert/strict";
import { encode, ExtData } from "@msgpack/msgpack";
import fc from "fast-check";
import { decodeMsgpack } from "../../src/decode/msgpack.ts";
import { assertRefused, data, hex, joined, repeated, utf8, withOwn } from "./payloads.ts";

Deno.test("what the library encodes comes back", () => {
  fc.assert(fc.property(data, (value) => {
    assert.deepEqual(decodeMsgpack(encode(value, { useBigInt64: true })), value);
  }));
});

Deno.test("integers of 64 bits are numbers where they are exact", () => {
  const cases: [string, unknown][] = [
    ["cf 00 00 00 00 00 00 00 07", 7],
    ["cf 00 1f ff ff ff ff ff ff", Number.MAX_SAFE_INTEGER],
    ["cf 00 20 00 00 00 00 00 00", 2n ** 53n],
    ["cf ff ff ff ff ff ff ff ff", 2n ** 64n - 1n],
    ["d3 ff ff ff ff ff ff ff ff", -1],
    ["d3 80 00 00 00 00 00 00 00", -(2n ** 63n)],
  ];
  for (const [payload, value] of cases) assert.deepEqual(decodeMsgpack(hex(payload)), value);
});

Deno.test("a timestamp is ISO text with the digits it needs", () => {
  fc.assert(fc.property(fc.date({ noInvalidDate: true }), (date) => {
    assert.equal(decodeMsgpack(encode(date)), date.toISOString());
  }));
  assert.equal(decodeMsgpack(hex("d6ff 66322ac0")), "2024-05-01T11:42:56.000Z");
  assert.equal(decodeMsgpack(hex("d7ff 00000004 00000000")), "1970-01-01T00:00:00.000000001Z");
  assert.equal(decodeMsgpack(hex("d7ff 00000fa0 00000000")), "1970-01-01T00:00:00.000001Z");
  assertRefused(decodeMsgpack, hex("c70cff 00000000 7fffffffffffffff"), /are no time/);
  assertRefused(decodeMsgpack, hex("c70cff ffffffff 0000000000000000"), /are no time/);
  assertRefused(decodeMsgpack, hex("c705ff 0000000000"), /Unrecognized data size for timestamp/);
});

Deno.test("an extension of its own is its type and its bytes", () => {
  assert.deepEqual(decodeMsgpack(encode({ v: new ExtData(5, hex("0102")) })), {
    v: { type: 5, data: hex("0102") },
  });
});

Deno.test("keys that are no text become text", () => {
  assert.deepEqual(decodeMsgpack(hex("86 fe a174 c3 01 c0 02 c4 02 00ff 03 cb3ff8000000000000 04 00 05")), {
    "-2": "t",
    true: 1,
    null: 2,
    "00ff": 3,
    "1.5": 4,
    0: 5,
  });
  assertRefused(decodeMsgpack, hex("81 90 01"), /an array or a map as a key/);
  assertRefused(decodeMsgpack, hex("81 80 01"), /an array or a map as a key/);
});

Deno.test("a key called __proto__ is a key, and no object gets another prototype", () => {
  const payload = joined(hex("82 a9"), utf8("__proto__"), hex("81 a161 c3 a162 a9"), utf8("__proto__"));
  const value = decodeMsgpack(payload) as object;
  assert.deepEqual(value, Object.assign(withOwn("__proto__", { a: true }), { b: "__proto__" }));
  assert.equal(Object.getPrototypeOf(value), Object.prototype);
  assert.equal((value as { a?: unknown }).a, undefined);
});

Deno.test("what is no MessagePack is refused with the place", () => {
  const cases: [string, RegExp][] = [
    ["", /not MessagePack: the payload is empty/],
    ["c1", /read up to byte 1: Unrecognized type byte: 0xc1/],
    ["92 01", /read up to byte 2: the payload ends before its value does/],
    ["a2 61", /read up to byte 1: the payload ends within a text/],
    ["cb 00", /the payload ends before its value does/],
    ["01 01", /Extra 1 of 2 byte/],
    ["c4 ff 00", /the payload ends before its value does/],
    ["a1 b0", /not valid UTF-8/],
    ["81 a1 b0 01", /not valid UTF-8/],
  ];
  for (const [payload, reason] of cases) assertRefused(decodeMsgpack, hex(payload), reason);
});

Deno.test("an array that announces more than there is takes no memory", () => {
  assertRefused(decodeMsgpack, hex("dd 01 ff ff ff"), /announces 33554431 values in 5 bytes/);
  assertRefused(decodeMsgpack, hex("df ff ff ff ff"), /announces 8589934590 values in 5 bytes/);
  assertRefused(decodeMsgpack, repeated(hex("dd 00 0f 00 00"), 200_000), /announces|more than 250000 values/);
});

Deno.test("MessagePack may be 100 levels deep, no deeper", () => {
  assert.ok(decodeMsgpack(joined(repeated(hex("91"), 100), hex("01"))));
  for (const opening of ["91", "81a161", "dc0001"]) {
    for (const deep of [101, 100_000]) {
      assertRefused(decodeMsgpack, joined(repeated(hex(opening), deep), hex("01")), /deeper than 100 levels/);
    }
  }
});

Deno.test("MessagePack with more values or bytes than a gateway can hold is refused", () => {
  const many = joined(hex("dd 00 04 93 e0"), repeated(hex("80"), 300_000));
  assertRefused(decodeMsgpack, many, /more than 250000 values/);
  assertRefused(decodeMsgpack, repeated(hex("00"), 5 * 1024 * 1024), /as MessagePack it may have 4194304/);
  const large = repeated(hex("07"), 1_000_000);
  assert.deepEqual(decodeMsgpack(encode(large)), large);
});
