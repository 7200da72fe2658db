import assert from "node:assert/strict";
import { join } from "node:path";
import fc from "fast-check";
import { DECODER } from "../../src/decode/mod.ts";
import { assertRefused, utf8 } from "./payloads.ts";

const { number, text, bytes, auto } = DECODER;
const spaces = fc.stringMatching(/^[ \t\r\n]{0,3}$/);

Deno.test("a number is read with the spaces around it, without loss", () => {
  const value = fc.oneof(fc.maxSafeInteger(), fc.double({ noNaN: true, noDefaultInfinity: true }));
  fc.assert(fc.property(value, spaces, spaces, (value, before, after) => {
    const printed = String(value);
    const read = number(utf8(before + printed + after));
    assert.equal(/^-?\d+$/.test(printed) && typeof read === "bigint" ? Number(read) : read, Number(printed));
    assert.equal(auto(utf8(before + printed + after)), read);
  }));
  fc.assert(fc.property(fc.bigInt(2n ** 53n, 2n ** 200n), (big) => {
    for (const sign of ["", "+"]) assert.equal(number(utf8(sign + big)), big);
    assert.equal(number(utf8(`-${big}`)), -big);
  }));
  assert.equal(number(utf8("+21.50")), 21.5);
  assert.equal(number(utf8(".5")), 0.5);
  assert.equal(number(utf8("3.14159265358979323846")), "3.14159265358979323846");
});

Deno.test("what is no number is refused with what it is", () => {
  for (
    const wrong of ["", " ", "21,5", "0x10", "NaN", "Infinity", "1e400", "--1", "1 2", ".", "9".repeat(401)]
  ) {
    assertRefused(number, utf8(wrong), /^not a number: "/);
  }
  assertRefused(number, Uint8Array.of(0xff), /not valid UTF-8 \(1 bytes\)/);
});

Deno.test("a payload of a million digits that is no number costs no more than its length", () => {
  for (const long of ["1".repeat(1e6) + "x", `1.${"0".repeat(1e6)}1`, "1" + "0".repeat(1e6)]) {
    assert.equal(auto(utf8(long)), long);
    assertRefused(number, utf8(long), /not a number/);
  }
});

Deno.test("text is the text, with its byte order mark, and nothing that is not UTF-8", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), (value) => {
    assert.equal(text(utf8(value)), value.toWellFormed());
  }));
  assert.equal(text(utf8("\uFEFFa")), "\uFEFFa");
  for (const wrong of [[0xff], [0xc3], [0xed, 0xa0, 0x80], [0xc0, 0x80]]) {
    assertRefused(text, Uint8Array.from(wrong), /not valid UTF-8/);
  }
});

Deno.test("bytes are the payload itself", () => {
  const payload = Uint8Array.of(0, 255);
  assert.equal(bytes(payload), payload);
});

Deno.test("auto reads numbers, JSON, text and bytes, in this order", () => {
  const cases: [string, unknown][] = [
    ["", ""],
    ["21.5", 21.5],
    [" -3 ", -3],
    ["+12345678901234567890", 12345678901234567890n],
    ["1e400", "1e400"],
    ["true", true],
    [" null ", null],
    ['"ON"', "ON"],
    ["ON", "ON"],
    ["[1,", "[1,"],
    ["\uFEFF{}", "\uFEFF{}"],
    ['\n{"a":1}', { a: 1 }],
    ["[".repeat(200_000), "[".repeat(200_000)],
    ["[".repeat(101) + "]".repeat(101), "[".repeat(101) + "]".repeat(101)],
  ];
  for (const [payload, value] of cases) assert.deepEqual(auto(utf8(payload)), value);
  const jpeg = Uint8Array.of(0xff, 0xd8, 0xff);
  assert.equal(auto(jpeg), jpeg);
  const large = `"${"a".repeat(5e6)}"`;
  assert.equal(auto(utf8(large)), large);
});

Deno.test("auto never fails", () => {
  fc.assert(fc.property(fc.oneof(fc.uint8Array(), fc.string().map(utf8), fc.json().map(utf8)), (payload) => {
    auto(payload);
  }));
});

Deno.test("auto reads what real devices send", () => {
  const lines = Deno.readTextFileSync(join(import.meta.dirname!, "devices.jsonl")).split("\n").filter(
    Boolean,
  );
  assert.ok(lines.length > 70);
  for (const line of lines) {
    const { payload, payload_base64, topic } = JSON.parse(line);
    if (payload_base64 !== undefined) {
      const raw = Uint8Array.fromBase64(payload_base64);
      const value = auto(raw);
      assert.ok(value === raw || typeof value === "string", topic);
      continue;
    }
    const value = auto(utf8(payload));
    if (/^\s*[[{]/.test(payload)) assert.deepEqual(value, JSON.parse(payload), topic);
    else if (!Number.isNaN(parseFloat(payload)) && String(Number(payload)) === payload) {
      assert.equal(value, Number(payload), topic);
    } else assert.deepEqual(value, /^(true|false|null)$/.test(payload) ? JSON.parse(payload) : value, topic);
    assert.ok(value !== undefined, topic);
  }
});
