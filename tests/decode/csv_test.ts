import assert from "node:assert/strict";
import fc from "fast-check";
import Papa from "papaparse";
import { decodeCsv } from "../../src/decode/csv.ts";
import { assertRefused, repeated, utf8, withOwn } from "./payloads.ts";

const read = (text: string) => decodeCsv(utf8(text));

Deno.test("one line is an array of its values", () => {
  const cases: [string, unknown][] = [
    ["21.5,48,ON", [21.5, 48, "ON"]],
    ["21.5;48;ON\n", [21.5, 48, "ON"]],
    ["21.5\t48\tON\r\n", [21.5, 48, "ON"]],
    ["21.5|48|ON", [21.5, 48, "ON"]],
    ["time, temperature", ["time", "temperature"]],
    ["21.5", [21.5]],
    [" 21.5 , 48 ,, ON ", [21.5, 48, null, "ON"]],
    ['"a,b",1', ["a,b", 1]],
    ['"a;b;c",1', ["a;b;c", 1]],
    ["x,y\t1", ["x,y", 1]],
    ['"say ""hi""",1', ['say "hi"', 1]],
    ["21,5;40,2", ["21,5", "40,2"]],
    ["12345678901234567890,1e400", [12345678901234567890n, "1e400"]],
    ["\uFEFF1,2", [1, 2]],
  ];
  for (const [text, value] of cases) assert.deepEqual(read(text), value, text);
});

Deno.test("lines under a header are objects", () => {
  assert.deepEqual(read("time,room,t\n2024-05-01T12:00:00Z,attic,21.5\n\n2024-05-01T12:01:00Z,,22\n"), [
    { time: "2024-05-01T12:00:00Z", room: "attic", t: 21.5 },
    { time: "2024-05-01T12:01:00Z", room: null, t: 22 },
  ]);
  assert.deepEqual(read("a ; b;\r\n1;2;3\r\n"), [{ a: 1, b: 2, 2: 3 }]);
  assert.deepEqual(read('"two\nlines",b\n"x\ny",2'), [{ "two\nlines": "x\ny", b: 2 }]);
  assert.deepEqual(read("t\n1\n2"), [{ t: 1 }, { t: 2 }]);
});

Deno.test("lines without a header are arrays", () => {
  assert.deepEqual(read("a,1\nb,2\n"), [["a", 1], ["b", 2]]);
  assert.deepEqual(read("1,2\n3\n"), [[1, 2], [3]]);
});

Deno.test("what the library writes comes back", () => {
  const name = fc.stringMatching(/^[a-z_][a-z_ ,;"\n]{0,10}[a-z_]$/);
  const field = fc.oneof(
    fc.string({ unit: "grapheme" }).map((it) => `x${it.replace(/\r/g, "")}x`),
    fc.maxSafeInteger(),
    fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e9, max: 1e9 }).map((it) => it === 0 ? 0 : it),
    fc.constant(null),
  );
  const table = fc.uniqueArray(name, { minLength: 2, maxLength: 5 }).chain((names) =>
    fc.tuple(
      fc.constant(names),
      fc.array(fc.tuple(...names.map(() => field)), { minLength: 1, maxLength: 5 }),
      fc.constantFrom("\n", "\r\n"),
    )
  );
  fc.assert(fc.property(table, ([names, rows, newline]) => {
    const text = Papa.unparse([names, ...rows], { newline, quotes: true });
    const expected = rows.map((row) => Object.fromEntries(row.map((value, i) => [names[i], value])));
    assert.deepEqual(read(text), expected);
  }));
});

Deno.test("a column called __proto__ is a column", () => {
  assert.deepEqual(read("__proto__,b\n1,2"), [Object.assign(withOwn("__proto__", 1), { b: 2 })]);
});

Deno.test("what is no CSV is refused with the place", () => {
  assertRefused(decodeCsv, utf8(""), /not CSV: the payload is empty/);
  assertRefused(decodeCsv, utf8("\n\n"), /only empty lines/);
  assertRefused(decodeCsv, utf8("a,b\n1,2\n1,2,3"), /the header has 2 fields, row 3 has 3/);
  assertRefused(decodeCsv, utf8("a,b\n1"), /the header has 2 fields, row 2 has 1/);
  assertRefused(decodeCsv, utf8("a,b,a\n1,2,3"), /the header has "a" twice/);
  assertRefused(decodeCsv, utf8('a,b\n1,"2'), /Quoted field unterminated, in row 2/);
  assertRefused(decodeCsv, utf8('"a"b,c'), /malformed, in row 1/);
  assertRefused(decodeCsv, Uint8Array.of(0x61, 0xff), /not valid UTF-8/);
});

Deno.test("CSV with more fields or bytes than a gateway can hold is refused, and no text makes it slow", () => {
  for (const part of [",", '"', '"a', '",', "\n", "1;", '"\n']) {
    assertRefused(decodeCsv, repeated(utf8(part), 600_000), /more than 250000 fields|only empty lines/);
  }
  assertRefused(decodeCsv, repeated(utf8("a"), 5 * 1024 * 1024), /as CSV it may have 4194304/);
  const header = Array.from({ length: 100_000 }, (_, i) => `c${i}`).join();
  assert.equal(Object.keys((read(`${header}\n${header}`) as object[])[0]!).length, 100_000);
});
