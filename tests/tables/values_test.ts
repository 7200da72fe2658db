/**
 * From a payload's bytes to what is stored, and read back: the same in every database, nothing altered silently.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { ColumnOptions } from "../../src/route/options.ts";
import { type Kind, type Store, withEachStore, Writer } from "./store.ts";

interface Case {
  readonly column: Omit<ColumnOptions, "value">;
  /** JSON of the value; what it is stored as, or why it is not. */
  readonly values: readonly (readonly [json: string, stored: string | null | RegExp])[];
}

const int = (type: string, least: string, most: string, below: string, above: string): Case => ({
  column: { type },
  values: [
    ...[[least, least], [most, most], ["0", "0"], [`"${most}"`, most], ["true", "1"]] as const,
    ...[[below, /outside/], [above, /outside/], ["1.5", /whole/], ['"x"', /whole|truth/], [
      "null",
      null,
    ]] as const,
  ],
});

const TIMES = [
  [{ time: "epoch_s" }, "1714557600", "2024-05-01 10:00:00.000000"],
  [{ time: "epoch_s" }, "1714557600.123456789", "2024-05-01 10:00:00.123456"],
  [{ time: "epoch_s" }, '"1714557600.25"', "2024-05-01 10:00:00.250000"],
  [{ time: "epoch_ms" }, "1714557600123", "2024-05-01 10:00:00.123000"],
  [{ time: "epoch_us" }, "1714557600123456", "2024-05-01 10:00:00.123456"],
  [{ time: "epoch_ns" }, "1714557600123456789", "2024-05-01 10:00:00.123456"],
  [{ time: "iso" }, '"2024-05-01T12:00:00.123456789+02:00"', "2024-05-01 10:00:00.123456"],
  [{ time: "iso" }, '"2024-05-01T10:00:00Z"', "2024-05-01 10:00:00.000000"],
  [{ time: "local", zone: "Europe/Berlin" }, '"2024-05-01T12:00:00.5"', "2024-05-01 10:00:00.500000"],
  [{ time: "local", zone: "Europe/Berlin" }, '"2024-12-01 12:00:00"', "2024-12-01 11:00:00.000000"],
  [{ time: "local" }, '"2024-05-01 10:00:00"', "2024-05-01 10:00:00.000000"],
  [{}, '"2024-05-01T12:00:00+02:00"', "2024-05-01 10:00:00.000000"],
  [{ time: "epoch_s" }, '"noon"', /not a number as epoch_s/],
  [{ time: "iso" }, '"2024-05-01T12:00:00"', /no offset/],
  [{ time: "epoch_s" }, "1714557600123", /years 1000 to 9999/],
] as const;

const TEXTS = ["", "ä€😀", 'it\'s "q" \\ `b` %_ -- ;', "a\0b", "\u{10ffff}", " space ", "x".repeat(40)];

const CASES: readonly Case[] = [
  int("tinyint", "-128", "127", "-129", "128"),
  int("smallint unsigned", "0", "65535", "-1", "65536"),
  int("mediumint", "-8388608", "8388607", "-8388609", "8388608"),
  int("int", "-2147483648", "2147483647", "-2147483649", "2147483648"),
  int("bigint", "-9223372036854775808", "9223372036854775807", "-9223372036854775809", "9223372036854775808"),
  int("bigint unsigned", "0", "18446744073709551615", "-1", "18446744073709551616"),
  {
    column: { type: "bigint" },
    values: [["9007199254740993", "9007199254740993"], ["-9007199254740993", "-9007199254740993"], [
      "1e3",
      "1000",
    ]],
  },
  {
    column: { type: "decimal(38,10)" },
    values: [
      ["0.1", "0.1"],
      ["12345678901234567890.1234567891", "12345678901234567890.1234567891"],
      ["-0.00000000005", "-0.0000000001"],
      ["-0.00000000004", "0"],
      ["1e-7", "0.0000001"],
      ["1.25e3", "1250"],
      ["true", "1"],
      ['"99.5"', "99.5"],
      ["1e28", /outside of decimal\(38,10\)/],
      ["9999999999999999999999999999.99999999999", /outside/],
    ],
  },
  {
    column: { type: "decimal(4,1) unsigned" },
    values: [["21.456", "21.5"], ["21.45", "21.5"], ["999.94", "999.9"], ["999.95", /outside/], [
      "-0.1",
      /outside/,
    ]],
  },
  {
    column: { type: "decimal(3,1)", onError: "null" },
    values: [["100", null], ["99.9", "99.9"], ['"x"', null]],
  },
  {
    column: { type: "boolean" },
    values: [
      ...["true", "1", '"on"', '"ON"', '"open"', '"online"', '"yes"', '"True"', '"home"'].map((it) =>
        [it, "1"] as const
      ),
      ...["false", "0", '"off"', '"closed"', '"Offline"', '"no"', '"not_home"'].map((it) =>
        [it, "0"] as const
      ),
      ['"perhaps"', /truth value/],
      ["null", null],
    ],
  },
  { column: { type: "varchar(40)" }, values: TEXTS.map((it) => [JSON.stringify(it), it]) },
  {
    column: { type: "text" },
    values: [
      ...[...TEXTS, "y".repeat(60_000)].map((it) => [JSON.stringify(it), it] as const),
      ["21.50", "21.5"],
      ["12345678901234567890", "12345678901234567890"],
      ["true", "true"],
      ['{"a":[1,null]}', '{"a":[1,null]}'],
      ['"\\ud800"', /surrogate/],
      [JSON.stringify("z".repeat(70_000)), /70000 bytes, the column takes 65535/],
    ],
  },
  {
    column: { type: "varchar(3)", onError: "truncate" },
    values: [['"abcdef"', "abc"], ['"😀😀😀😀"', "😀😀😀"], ['"ab"', "ab"]],
  },
  { column: { type: "varchar(3)", onError: "null" }, values: [['"abcdef"', null], ['"abc"', "abc"]] },
  {
    column: { type: "varchar(3)" },
    values: [['"abcd"', /4 characters, the column takes 3/], ['"😀😀😀"', "😀😀😀"]],
  },
  {
    column: { type: "date" },
    values: [['"2024-02-29"', "2024-02-29"], ['"2024-02-29T23:30:00-02:00"', "2024-03-01"]],
  },
  { column: { type: "time(3)" }, values: [['"10:20:30.5"', "10:20:30.500"], ['"25:00"', "25:00:00.000"]] },
  ...TIMES.map(([column, json, stored]): Case => ({
    column: { type: "datetime(6)", ...column },
    values: [[json, stored]],
  })),
];

/** How a column is read so that nothing is lost on the way back. */
function reader(kind: Kind, type: string): (store: Store, column: string) => string {
  const isText = /char|text/.test(type);
  return (store, column) => {
    const name = store.name(column);
    if (isText) return `CASE WHEN ${name} IS NULL THEN NULL ELSE HEX(${name}) END`;
    return kind === "sqlite" ? `CAST(${name} AS TEXT)` : `CAST(${name} AS CHAR)`;
  };
}

/** One spelling for what databases spell differently: decimals with or without their last zeros, times with or without theirs. */
function canonical(type: string, value: unknown): string | null {
  if (value === null) return null;
  const text = String(value);
  if (/char|text/.test(type)) {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Uint8Array.fromHex(text));
  }
  if (type.startsWith("decimal")) {
    return text.replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "").replace(/^-0$/, "0");
  }
  if (type.startsWith("time(")) return text.padEnd(8, ":00").padEnd(9, ".").padEnd(12, "0");
  return text;
}

withEachStore(
  "a value is stored as it is, or refused with a reason; never something else",
  async (_t, server, kind) => {
    await using store = await server.open({ addColumns: true });
    const columns = Object.fromEntries(
      CASES.map(({ column }, i) => [`c${i}`, { value: `$.c${i}`, ...column }]),
    );
    const writer = new Writer(store.sink, [{
      topic: "home",
      table: "v",
      decode: "json",
      columns: { n: { value: "$.n", type: "int" }, ...columns },
    }]);
    let n = 0;
    for (const [i, { column, values }] of CASES.entries()) {
      const type = column.type!;
      for (const [json, stored] of values) {
        const deadBefore = writer.dead.length;
        const rows = await writer.write("home", `{ "n": ${++n}, "c${i}": ${json} }`);
        const where = `${type} ${JSON.stringify(column)} of ${json.slice(0, 60)}`;
        if (stored instanceof RegExp) {
          assert.equal(rows, 0, where);
          assert.match(writer.dead[deadBefore].reason, stored, where);
          assert.equal(writer.dead[deadBefore].errno, null, `${where}: known before it reaches the database`);
        } else {
          assert.equal(rows, 1, `${where}: ${writer.dead[deadBefore]?.reason}`);
          const [row] = await store.query(
            `SELECT ${reader(kind, type)(store, `c${i}`)} AS v FROM v WHERE n = ${n}`,
          );
          assert.equal(canonical(type, row.v), stored, where);
        }
      }
    }
  },
);

withEachStore("any number comes back as the number that it was", async (_t, server, kind) => {
  await using store = await server.open();
  const columns = {
    n: { value: "$.n", type: "int" },
    double: { value: "$.double", type: "double" },
    float: { value: "$.float", type: "float" },
    big: { value: "$.big", type: "bigint" },
    unsigned: { value: "$.unsigned", type: "bigint unsigned" },
    decimal: { value: "$.decimal", type: "decimal(60,20)" },
    text: { value: "$.text", type: "text" },
  };
  const writer = new Writer(store.sink, [{ topic: "home", table: "numbers", decode: "json", columns }]);
  const finite = fc.double({ noDefaultInfinity: true, noNaN: true }).filter((it) => !Object.is(it, -0));
  const record = fc.record({
    double: finite,
    float: fc.float({ noDefaultInfinity: true, noNaN: true }).filter((it) =>
      !Object.is(it, -0) && Math.abs(it) > 1e-30
    ),
    big: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    unsigned: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    whole: fc.bigInt({ min: -(10n ** 39n), max: 10n ** 39n }),
    fraction: fc.stringMatching(/^\d{0,19}[1-9]$/),
  });
  let n = 0;
  const seen: { double: number; float: number; big: bigint; unsigned: bigint; decimal: string }[] = [];
  await fc.assert(
    fc.asyncProperty(fc.array(record, { minLength: 20, maxLength: 60 }), async (records) => {
      const payloads = records.map(({ whole, fraction, ...it }) => {
        const decimal = `${whole}.${fraction}`;
        seen.push({ ...it, decimal });
        const numbers = { double: it.double, float: it.float, big: it.big, unsigned: it.unsigned, decimal };
        return `{ "n": ${n++}, ${
          Object.entries(numbers).map(([key, it]) => `"${key}": ${it}`).join(", ")
        }, "text": ${decimal} }`;
      });
      assert.equal(await writer.write("home", payloads), records.length, writer.dead[0]?.reason);
    }),
    { numRuns: 15 },
  );
  const text = (name: string) => kind === "sqlite" ? `CAST("${name}" AS TEXT)` : `CAST(\`${name}\` AS CHAR)`;
  const rows = await store.query(
    `SELECT n, ${store.name("double")} AS f64, ${store.name("float")} AS f32, ${text("big")} AS big, ` +
      `${text("unsigned")} AS u64, ${text("decimal")} AS dec_, ${
        text("text")
      } AS txt FROM numbers ORDER BY n`,
  );
  assert.equal(rows.length, seen.length);
  for (const [i, row] of rows.entries()) {
    const { double, float, big, unsigned, decimal } = seen[i];
    assert.equal(Number(row.f64), double);
    // Databases print a FLOAT with six digits only.
    assert.ok(Math.abs(Number(row.f32) - float) <= Math.abs(float) * 1e-5, `${row.f32} of ${float}`);
    assert.deepEqual([String(row.big), String(row.u64)], [String(big), String(unsigned)]);
    assert.equal(canonical("decimal", row.dec_), canonical("decimal", decimal));
    assert.equal(String(row.txt), decimal);
  }
});

withEachStore("decimals are rounded as the database rounds them", async (_t, server) => {
  await using store = await server.open();
  await store.query("CREATE TABLE d (n int, ours decimal(12,3), theirs decimal(12,3))");
  const writer = new Writer(store.sink, [{
    ...{ topic: "home", table: "d", decode: "json" as const },
    columns: { n: "$.n", ours: { value: "$.v", type: "decimal(12,3)" } },
  }]);
  const number = fc.oneof(
    fc.tuple(fc.integer({ min: -99_999, max: 99_999 }), fc.stringMatching(/^\d{0,8}$/)).map(([a, b]) =>
      b ? `${a}.${b}` : `${a}`
    ),
    fc.double({ min: -1e8, max: 1e8, noNaN: true }).map(String).filter((it) => !/e/.test(it)),
  );
  let n = 0;
  const given: string[] = [];
  await fc.assert(
    fc.asyncProperty(fc.array(number, { minLength: 30, maxLength: 60 }), async (numbers) => {
      given.push(...numbers);
      assert.equal(
        await writer.write("home", numbers.map((it) => `{ "n": ${n++}, "v": ${it} }`)),
        numbers.length,
      );
    }),
    { numRuns: 8 },
  );
  for (const [i, it] of given.entries()) {
    await store.query("UPDATE d SET theirs = CAST(? AS DECIMAL(60,30)) WHERE n = ?", [it, i]);
  }
  const rows = await store.query("SELECT * FROM d WHERE ours <> theirs");
  assert.deepEqual(rows.map((it) => [given[it.n], it.ours, it.theirs]), []);
}, ["mariadb", "mysql"]);

withEachStore(
  "without a type the first rows decide, and no digit of a whole number is lost",
  async (_t, server) => {
    await using store = await server.open();
    const writer = new Writer(store.sink, [{
      ...{ topic: "home", table: "u", decode: "json" as const },
      columns: {
        n: { value: "$.n", type: "int" },
        big: "$.big",
        flag: "$.flag",
        text: "$.text",
        number: "$.number",
      },
    }]);
    const rows = [
      { n: 1, big: "5", flag: "true", text: '"a"', number: "1" },
      { n: 2, big: "9007199254740993", flag: "false", text: '"ä😀"', number: "1.5" },
    ].map((it) => `{ ${Object.entries(it).map(([key, value]) => `"${key}": ${value}`).join(", ")} }`);
    assert.equal(await writer.write("home", rows), 2);
    const stored = await store.query("SELECT big, flag, text, number FROM u ORDER BY n");
    assert.deepEqual(stored.map((it) => [String(it.big), Number(it.flag), it.text, Number(it.number)]), [
      ["5", 1, "a", 1],
      ["9007199254740993", 0, "ä😀", 1.5],
    ]);
    assert.equal(await writer.write("home", '{ "n": 3, "big": 99999999999999999999 }'), 0);
    assert.match(writer.dead[0].reason, /range|64 bits/i);
  },
);
