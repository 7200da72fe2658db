import assert from "node:assert/strict";
import fc from "fast-check";
import { decodeJson } from "../../src/decode/json.ts";
import { assertRefused, repeated, utf8, withOwn } from "./payloads.ts";

const read = (text: string) => decodeJson(utf8(text));

Deno.test("JSON is what JSON.parse makes of it", () => {
  fc.assert(fc.property(fc.jsonValue(), (value) => {
    const text = JSON.stringify(value);
    assert.deepEqual(read(text), JSON.parse(text));
  }));
});

Deno.test("a whole number of any size keeps every digit", () => {
  fc.assert(fc.property(fc.bigInt(-(10n ** 40n), 10n ** 40n), (big) => {
    const expected = Number.isSafeInteger(Number(big)) ? Number(big) : big;
    assert.deepEqual(read(`{"v":[${big}]}`), { v: [expected] });
    assert.deepEqual(read(String(big)), expected);
  }));
});

Deno.test("a decimal of any length keeps every digit", () => {
  const digits = fc.stringMatching(/^[0-9]{1,30}$/);
  fc.assert(fc.property(fc.boolean(), fc.bigInt(0n, 10n ** 30n), digits, (negative, whole, fraction) => {
    const source = `${negative ? "-" : ""}${whole}.${fraction}`;
    const { v } = read(`{"v":${source}}`) as { v: number | string };
    if (typeof v === "string") assert.equal(v, source);
    else assert.ok(isPrintedAs(v, source), `${source} became ${v}`);
  }));
});

/** The double is the nearest one, and the text has no more digits than every double keeps, or is how it is printed. */
function isPrintedAs(value: number, source: string): boolean {
  const significant = source.replace(/[-.]/g, "").replace(/^0+/, "").replace(/0+$/, "");
  return Object.is(value, Number(source)) && (significant.length <= 15 || String(value) === source);
}

Deno.test("a double is the double that was printed, with an exponent or without", () => {
  fc.assert(fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (double) => {
    assert.deepEqual(read(`[${double.toExponential()}]`), [double === 0 ? 0 : double]);
    assert.equal(Number(read(String(double))), double === 0 ? 0 : double);
  }));
});

Deno.test("a number beyond a double's range stays as its text, never infinity", () => {
  for (const source of ["1e400", "-1e400", "1E+0999", "9".repeat(350), "1" + "0".repeat(500_000)]) {
    assert.deepEqual(read(`{"v":${source}}`), { v: source });
  }
  assert.equal(read("1e99"), 1e99);
});

Deno.test("a number whose exponent no column can hold, and databases misread, is refused", () => {
  for (const source of ["1e71711805595349", "[1.5E+10000]", '{"v":-12e+99999}']) {
    assertRefused(decodeJson, utf8(source), /exponent beyond every range/);
  }
  assert.equal(read("1e0000000400"), "1e0000000400");
});

Deno.test("digits within a text are left alone", () => {
  const text = '{"mac":"00124b00226969ac","ns":"1700000000000000001","v":1700000000000000001}';
  assert.deepEqual(read(text), {
    mac: "00124b00226969ac",
    ns: "1700000000000000001",
    v: 1700000000000000001n,
  });
});

Deno.test("a key called __proto__ is a key, with long numbers and without", () => {
  for (const number of ["1", "12345678901234567890"]) {
    const value = read(`{"__proto__":{"x":${number}}}`) as object;
    assert.deepEqual(value, withOwn("__proto__", { x: number === "1" ? 1 : BigInt(number) }));
    assert.equal(Object.getPrototypeOf(value), Object.prototype);
    assert.equal((value as { x?: unknown }).x, undefined);
  }
});

Deno.test("what is no JSON is refused with the place", () => {
  assertRefused(decodeJson, utf8(""), /not JSON: the payload is empty/);
  assertRefused(decodeJson, utf8("online"), /not JSON: .*"online"/);
  assertRefused(decodeJson, utf8('{"a":1,\n}'), /not JSON: .*line 2 column 1/);
  assertRefused(decodeJson, Uint8Array.of(0x22, 0xff, 0x22), /not valid UTF-8/);
});

Deno.test("JSON may be 100 levels deep, no deeper, whatever numbers are in it", () => {
  for (const inner of ["1", "12345678901234567890"]) {
    assert.ok(read("[".repeat(100) + inner + "]".repeat(100)));
    for (const deep of [101, 100_000]) {
      assertRefused(decodeJson, utf8("[".repeat(deep) + inner + "]".repeat(deep)), /deeper than 100 levels/);
      assertRefused(decodeJson, utf8('{"a":'.repeat(deep) + inner + "}".repeat(deep)), /deeper than 100/);
    }
  }
  assert.equal((read(`[${"[[1]],".repeat(1_000)}0]`) as unknown[]).length, 1_001);
});

Deno.test("JSON with more values or bytes than a gateway can hold is refused", () => {
  assertRefused(decodeJson, utf8(`[${"[],".repeat(300_000)}0]`), /more than 250000 values/);
  assertRefused(
    decodeJson,
    repeated(utf8(" "), 5 * 1024 * 1024),
    /5242880 bytes; as JSON it may have 4194304/,
  );
  assert.equal((read(`"${"a".repeat(4_000_000)}"`) as string).length, 4_000_000);
});
