import assert from "node:assert/strict";
import fc from "fast-check";
import { parseColumnType } from "../../src/column_type.ts";
import { decodeJson } from "../../src/decode/json.ts";
import { quote } from "../../src/mysql/ddl.ts";
import { convert, natural, truncate } from "../../src/route/convert.ts";
import { UnfitError } from "../../src/route/unfit_error.ts";

const as = (value: unknown, type: string) => convert(value, parseColumnType(type));
const parsed = (text: string) => decodeJson(new TextEncoder().encode(text));

Deno.test("a whole number is stored exactly where it fits, and refused where it does not", () => {
  const bits = { tinyint: 8n, smallint: 16n, mediumint: 24n, int: 32n, bigint: 64n };
  fc.assert(
    fc.property(fc.constantFrom(...Object.keys(bits)), fc.bigInt(), fc.boolean(), (name, big, unsigned) => {
      const width = bits[name as keyof typeof bits];
      const [least, most] = unsigned
        ? [0n, 2n ** width - 1n]
        : [-(2n ** (width - 1n)), 2n ** (width - 1n) - 1n];
      const value = big % (2n ** (width + 1n));
      const type = unsigned ? `${name} unsigned` : name;
      for (const given of [value, String(value)]) {
        if (value < least || value > most) assert.throws(() => as(given, type), UnfitError);
        else assert.equal(BigInt(as(given, type) as number), value);
      }
    }),
  );
});

Deno.test("a long whole number goes from JSON to a column without loss", () => {
  fc.assert(
    fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), (big) => {
      const { id } = parsed(`{"id": ${big}}`) as { id: unknown };
      assert.equal(BigInt(as(id, "bigint") as bigint), big);
      assert.equal(BigInt(natural(id) as bigint), big);
      assert.equal(BigInt(as(id, "decimal(20,0)") as bigint), big);
    }),
    { numRuns: 3_000 },
  );
});

Deno.test("a decimal goes from JSON to a decimal column with all its digits", () => {
  const digits = fc.stringMatching(/^[1-9][0-9]{0,20}$/);
  fc.assert(fc.property(digits, fc.stringMatching(/^[0-9]{0,17}[1-9]$/), (whole, fraction) => {
    const { n } = parsed(`{"n": ${whole}.${fraction}}`) as { n: unknown };
    assert.equal(String(as(n, "decimal(40,18)")), `${whole}.${fraction}`);
  }));
});

Deno.test("whatever a device sends, a column gets a value that a database can hold, or the device is told off", () => {
  const types = [
    "double",
    "int",
    "decimal(10,2)",
    "varchar(40)",
    "text",
    "json",
    "boolean",
    "datetime(3)",
    "blob",
  ];
  fc.assert(
    fc.property(fc.anything({ withBigInt: true }), fc.constantFrom(...types), (value, type) => {
      let sql;
      try {
        sql = as(value, type);
      } catch (error) {
        return assert.ok(error instanceof UnfitError, String(error));
      }
      if (sql === undefined) assert.fail("undefined is no value of a database");
      if (typeof sql === "number") assert.ok(Number.isFinite(sql));
      else if (typeof sql === "string") assert.ok(sql.isWellFormed());
      else assert.ok(sql === null || ["boolean", "bigint"].includes(typeof sql) || sql instanceof Uint8Array);
    }),
    { numRuns: 3_000, examples: [[{ toString: 0 }, "datetime(3)"], [{ toString: 0 }, "boolean"]] },
  );
});

Deno.test("truth values are read as devices write them", () => {
  for (const value of ["on", "ON", "true", "open", "online", "yes", "1", 1, 1n, true, " On "]) {
    assert.equal(as(value, "boolean"), true, String(value));
  }
  for (const value of ["off", "OFF", "false", "closed", "offline", "no", "0", 0, 0n, false]) {
    assert.equal(as(value, "boolean"), false, String(value));
  }
  for (const value of ["", "maybe", 2, {}, [], ["on"], new Uint8Array(1)]) {
    assert.throws(() => as(value, "boolean"), /truth value like on\/off/);
  }
  assert.equal(as("ON", "tinyint"), true);
  assert.equal(as("2", "tinyint"), 2);
});

Deno.test("a text fits by characters, and truncated it always fits", () => {
  assert.equal(as("äöü", "varchar(3)"), "äöü");
  assert.throws(() => as("äöüß", "varchar(3)"), /4 characters, the column takes 3/);
  assert.throws(() => as("\ud800", "varchar(3)"), /surrogate/);
  fc.assert(fc.property(fc.string({ unit: "binary" }), fc.integer({ min: 1, max: 20 }), (text, length) => {
    const type = parseColumnType(`varchar(${length})`);
    const short = truncate(text, type) as string;
    assert.equal(convert(short, type), short);
  }));
});

Deno.test("an identifier is one identifier, whatever it holds", () => {
  fc.assert(
    fc.property(fc.string({ minLength: 1, unit: "binary" }).filter((it) => !it.includes("\0")), (name) => {
      const quoted = quote(name);
      assert.match(quoted, /^`(?:[^`]|``)+`$/s);
      assert.equal(quoted.slice(1, -1).replaceAll("``", "`"), name);
    }),
  );
  for (const name of ["", "a\0b"]) assert.throws(() => quote(name), /cannot be an identifier/);
});

Deno.test("JSON that is stored as a whole has every number as it was written, and every text as a text", () => {
  for (
    const text of [
      '{"a":0.1234567890123456789,"b":"0.1234567890123456789"}',
      '[1e999,"1e999",{"deep":[-123456789012345678901.5]}]',
      '{"__proto__":0.1234567890123456789}',
      "[9007199254740993,1.5,-7]",
    ]
  ) {
    assert.equal(natural(parsed(text)), text);
    assert.equal(as(parsed(text), "json"), text);
    assert.equal(as(parsed(text), "text"), text);
  }
});

Deno.test("what may be a text or a number of many digits is not made into one of them in a column of JSON", () => {
  for (const text of ["0.1234567890123456789", "1e999", "9".repeat(400)]) {
    assert.throws(() => as(text, "json"), UnfitError);
  }
  for (const text of ["0.5", "1.50", "12", "9007199254740993", "1e5", "e5", "abc"]) {
    assert.equal(as(text, "json"), JSON.stringify(text));
  }
});
