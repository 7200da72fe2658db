import assert from "node:assert/strict";
import { encode, rfc8949EncodeOptions, Token, Type } from "cborg";
import fc from "fast-check";
import { decodeCbor } from "../../src/decode/cbor.ts";
import { compilePath } from "../../src/route/path.ts";
import { assertRefused, data, hex, joined, repeated, utf8, withOwn } from "./payloads.ts";

Deno.test("what the library encodes comes back", () => {
  fc.assert(fc.property(data, (value) => {
    assert.deepEqual(decodeCbor(encode(value)), value);
  }));
});

Deno.test("the examples of RFC 8949 are read as it says", () => {
  const cases: [string, unknown][] = [
    ["00", 0],
    ["1b001fffffffffffff", Number.MAX_SAFE_INTEGER],
    ["1b0020000000000000", 2n ** 53n],
    ["1bffffffffffffffff", 18446744073709551615n],
    ["3bffffffffffffffff", -18446744073709551616n],
    ["c249010000000000000000", 18446744073709551616n],
    ["c349010000000000000000", -18446744073709551617n],
    ["f93e00", 1.5],
    ["fa47c35000", 100000],
    ["fb3ff199999999999a", 1.1],
    ["f5", true],
    ["f6", null],
    ["f7", null],
    ["c074323031332d30332d32315432303a30343a30305a", "2013-03-21T20:04:00Z"],
    ["c11a514b67b0", "2013-03-21T20:04:00.000Z"],
    ["c1fb41d452d9ec200000", "2013-03-21T20:04:00.500Z"],
    ["c48221196ab3", 273.15],
    ["d818456449455446", hex("6449455446")],
    ["d9d9f78101", [1]],
    ["62c3bc", "ü"],
    ["9f018202039f0405ffff", [1, [2, 3], [4, 5]]],
    ["bf61610161629f0203ffff", { a: 1, b: [2, 3] }],
    ["a201020304", { 1: 2, 3: 4 }],
    ["80", []],
    ["a0", {}],
  ];
  for (const [payload, value] of cases) assert.deepEqual(decodeCbor(hex(payload)), value, payload);
});

Deno.test("a time keeps its microseconds, also before 1970", () => {
  const at = (seconds: number) => {
    const float = new Uint8Array(8);
    new DataView(float.buffer).setFloat64(0, seconds);
    return decodeCbor(joined(hex("c1fb"), float));
  };
  assert.equal(at(1714564800.123456), "2024-05-01T12:00:00.123456Z");
  assert.equal(at(1714564800.9999999), "2024-05-01T12:00:01.000Z");
  assert.equal(at(-0.25), "1969-12-31T23:59:59.750Z");
  for (const never of [NaN, Infinity, 1e300]) assert.throws(() => at(never), /is no time|are no time/);
  assertRefused(decodeCbor, hex("c16161"), /a time that is no number of seconds/);
});

Deno.test("keys that are no text become text, and a path finds them", () => {
  const encoded = encode(
    new Map<unknown, unknown>([[-2, "t"], [true, 1], [2n ** 60n, 2], [hex("00ff"), 3], [null, 4]]),
  );
  const value = decodeCbor(encoded);
  assert.deepEqual(value, { "-2": "t", true: 1, "1152921504606846976": 2, "00ff": 3, null: 4 });
  assert.equal(compilePath('$["-2"]')(value), "t");
  assertRefused(decodeCbor, hex("a1 80 01"), /an array or a map as a key/);
  assertRefused(decodeCbor, hex("a1a001"), /an array or a map as a key/);
});

Deno.test("a key called __proto__ is a key, and no object gets another prototype", () => {
  const value = decodeCbor(encode(new Map([["__proto__", { admin: true }]]))) as object;
  assert.deepEqual(value, withOwn("__proto__", { admin: true }));
  assert.equal(Object.getPrototypeOf(value), Object.prototype);
  assert.equal(({} as { admin?: boolean }).admin, undefined);
});

Deno.test("what is no CBOR is refused with the place", () => {
  const cases: [string, RegExp][] = [
    ["", /not CBOR: the payload is empty/],
    ["62 61", /read up to byte 0: .*not enough data/],
    ["82 01", /not enough entries|ends before/],
    ["a1 61 61", /ends before|not enough entries/],
    ["01 01", /read up to byte 1: too many terminals/],
    ["ff", /unexpected break/],
    ["bf 61 61 ff ff", /ends where none may end/],
    ["d9 d9 f7", /ends before its value/],
    ["c4 01", /decimal fraction/],
    ["c2 01", /not made of bytes/],
    ["7f 61 61 ff", /indefinite length bytes\/strings are not supported/],
    ["1c", /invalid minor/],
    ["f0", /simple values are not supported/],
    ["9b ff ff ff ff ff ff ff ff", /not CBOR/],
    ["61 b0", /not valid UTF-8/],
    ["a1 61 b0 01", /not valid UTF-8/],
  ];
  for (const [payload, reason] of cases) assertRefused(decodeCbor, hex(payload), reason);
});

Deno.test("CBOR may be 100 levels deep, no deeper", () => {
  assert.ok(decodeCbor(joined(repeated(hex("81"), 100), hex("01"))));
  for (const opening of ["81", "9f", "a16161", "bf6161", "c181", "a1"]) {
    for (const deep of [101, 200_000 / opening.length | 0]) {
      assertRefused(decodeCbor, joined(repeated(hex(opening), deep), hex("01")), /not CBOR/);
    }
  }
  assert.equal(decodeCbor(joined(repeated(hex("c6"), 100_000), hex("01"))), 1);
  assertRefused(decodeCbor, joined(repeated(hex("81"), 101), hex("01")), /nested deeper than 100 levels/);
  assertRefused(decodeCbor, joined(repeated(hex("81"), 100_000), hex("01")), /nested too deep/);
});

Deno.test("CBOR with more values or bytes than a gateway can hold is refused", () => {
  assertRefused(decodeCbor, joined(hex("9f"), repeated(hex("a0"), 300_000)), /more than 250000 values/);
  assertRefused(decodeCbor, joined(repeated(hex("c6"), 300_000), hex("01")), /more than 250000 values/);
  assertRefused(decodeCbor, repeated(hex("00"), 5 * 1024 * 1024), /as CBOR it may have 4194304/);
  assertRefused(
    decodeCbor,
    joined(hex("c2 59 04 00"), repeated(hex("ff"), 1024)),
    /1024 bytes/,
  );
  const large = utf8("a".repeat(1_000_000));
  assert.deepEqual(decodeCbor(encode(large)), large);
});

Deno.test("a tag that means nothing here is seen through", () => {
  const tag = (number: number, ...content: Token[]) => [new Token(Type.tag, number), ...content];
  const tokens = tag(1_000_000, new Token(Type.uint, 7));
  const value = encode({ v: "x" }, {
    ...rfc8949EncodeOptions,
    typeEncoders: { string: (it: string) => it === "x" ? tokens : null },
  });
  assert.deepEqual(decodeCbor(value), { v: 7 });
});
