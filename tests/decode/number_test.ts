import assert from "node:assert/strict";
import fc from "fast-check";
import { parseNumber } from "../../src/decode/number.ts";

/** A decimal as a fraction of whole numbers, exactly. */
function exact(text: string): { readonly top: bigint; readonly bottom: bigint } {
  const [, sign, whole, fraction = "", exponent = "0"] = /^([-+]?)(\d*)\.?(\d*)(?:[eE]([-+]?\d+))?$/.exec(
    text,
  )!;
  const shift = fraction.length - Number(exponent);
  const digits = BigInt(`${sign === "-" ? "-" : ""}${whole}${fraction}`);
  return shift >= 0
    ? { top: digits, bottom: 10n ** BigInt(shift) }
    : { top: digits * 10n ** BigInt(-shift), bottom: 1n };
}

const isSame = (a: string, b: string) => {
  const [one, other] = [exact(a), exact(b)];
  return one.top * other.bottom === other.top * one.bottom;
};

const digits = (max: number) => fc.stringMatching(new RegExp(`^[0-9]{1,${max}}$`));
const written = fc.tuple(
  fc.constantFrom("", "-", "+"),
  digits(25),
  fc.oneof(fc.constant(""), digits(25).map((it) => `.${it}`), fc.constant(".")),
).map((parts) => parts.join(""));

Deno.test("a number as a sensor writes it is that number, digit for digit, or the nearest double of few digits", () => {
  fc.assert(
    fc.property(written, (text) => {
      const value = parseNumber(text)!;
      assert.notEqual(value, undefined, text);
      if (typeof value === "number") {
        // As many digits as a double has for sure come back as they were.
        assert.equal(value, Number(text));
        const significant = text.replace(/[-+.]/g, "").replace(/^0+/, "").replace(/0+$/, "").length;
        if (significant <= 15) {
          const shown = Math.abs(value) < 1e21 ? String(value) : BigInt(value).toString();
          assert.ok(isSame(shown, text), `${text} became ${shown}`);
        }
      } else assert.ok(isSame(String(value), text), `${text} became ${value}`);
    }),
    { numRuns: 5_000 },
  );
});

Deno.test("with an exponent it is what JavaScript reads", () => {
  fc.assert(fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (double) => {
    for (const text of [double.toExponential(), String(double)]) {
      const value = parseNumber(text);
      assert.equal(Number(value), double === 0 ? Number(text) : double, text);
    }
  }));
});

Deno.test("what is no number is none", () => {
  const texts = [
    "",
    " ",
    "1 ",
    "0x10",
    "1_000",
    "1e",
    "e1",
    ".",
    "+",
    "--1",
    "1.2.3",
    "NaN",
    "Infinity",
    "1e999",
    "٣",
    "1,5",
  ];
  for (const text of [...texts, "9".repeat(401)]) assert.equal(parseNumber(text), undefined, text);
  fc.assert(fc.property(fc.string(), (text) => {
    const value = parseNumber(text);
    if (value !== undefined) assert.ok(Number.isFinite(Number(text)), text);
  }));
});
