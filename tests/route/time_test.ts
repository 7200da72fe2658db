import assert from "node:assert/strict";
import fc from "fast-check";
import { parseColumnType } from "../../src/column_type.ts";
import { convert } from "../../src/route/convert.ts";
import type { ColumnOptions, TimeKind } from "../../src/route/options.ts";
import { compileTime } from "../../src/route/time.ts";
import { decodeOne, problemsOf } from "./routed.ts";

const read = (kind: TimeKind, value: unknown, type = "datetime(6)", zone?: string) =>
  compileTime(kind, zone, parseColumnType(type))(value);

const instants = fc.date({
  min: new Date("1000-01-01T00:00:00Z"),
  max: new Date("9999-12-31T23:59:59Z"),
  noInvalidDate: true,
});
const sql = (date: Date, digits: number) => {
  const [whole, fraction] = date.toISOString().replace("T", " ").replace("Z", "").split(".");
  return digits === 0 ? whole : `${whole}.${fraction.padEnd(digits, "0").slice(0, digits)}`;
};

Deno.test("epochs are the instant that JavaScript says they are, as number, text and long integer", () => {
  fc.assert(fc.property(instants, fc.constantFrom(0, 3, 6), (date, digits) => {
    const ms = date.getTime();
    const expected = sql(date, digits);
    const as = (kind: TimeKind, value: unknown) =>
      assert.equal(read(kind, value, `datetime(${digits})`), expected);
    as("epoch_ms", ms);
    as("epoch_ms", String(ms));
    as("epoch_us", BigInt(ms) * 1_000n);
    as("epoch_ns", BigInt(ms) * 1_000_000n);
    as("epoch_ns", String(BigInt(ms) * 1_000_000n));
    if (ms % 1_000 === 0 || digits === 0) as("epoch_s", Math.floor(ms / 1_000));
  }));
});

Deno.test("a fraction of a second is kept to the column's digits, and cut off beyond", () => {
  assert.equal(read("epoch_s", 1714557600.123456), "2024-05-01 10:00:00.123456");
  assert.equal(read("epoch_s", "1714557600.9999999"), "2024-05-01 10:00:00.999999");
  assert.equal(read("epoch_s", 1714557600.999, "datetime"), "2024-05-01 10:00:00");
  assert.equal(read("epoch_s", -0.5, "datetime(1)"), "1969-12-31 23:59:59.5");
  assert.equal(read("epoch_ns", 1714557600123456789n, "datetime(3)"), "2024-05-01 10:00:00.123");
});

Deno.test("an ISO time with any offset is stored as UTC", () => {
  fc.assert(fc.property(instants, fc.integer({ min: -14 * 60, max: 14 * 60 }), (date, offsetMinutes) => {
    const shifted = new Date(date.getTime() + offsetMinutes * 60_000);
    fc.pre(shifted.getUTCFullYear() <= 9999 && shifted.getUTCFullYear() >= 1000);
    const two = (n: number) => String(n).padStart(2, "0");
    const size = Math.abs(offsetMinutes);
    const offset = `${offsetMinutes < 0 ? "-" : "+"}${two(Math.floor(size / 60))}:${two(size % 60)}`;
    const text = shifted.toISOString().replace("Z", offset);
    for (const written of [text, text.replace("T", " "), text.replace(/:(\d\d)$/, "$1")]) {
      assert.equal(read("iso", written), sql(date, 6), written);
    }
  }));
});

Deno.test("a local time is read in its zone, also where the clock is changed", () => {
  const berlin = (text: string) => read("local", text, "datetime", "Europe/Berlin");
  assert.equal(berlin("2024-01-15T12:00:00"), "2024-01-15 11:00:00");
  assert.equal(berlin("2024-07-15 12:00:00"), "2024-07-15 10:00:00");
  assert.equal(berlin("2024-07-15"), "2024-07-14 22:00:00");
  assert.equal(berlin("2024-03-31T02:30:00"), "2024-03-31 01:30:00", "the hour that is skipped");
  assert.equal(berlin("2024-10-27T02:30:00"), "2024-10-27 00:30:00", "the hour that is twice there");
  assert.equal(berlin("2024-07-15T12:00:00Z"), "2024-07-15 12:00:00", "an offset says more than a zone");
  assert.equal(read("local", "2024-07-15T12:00:00", "datetime"), "2024-07-15 12:00:00");
});

Deno.test("a local time is the instant that the calendar says it is, in any zone", () => {
  const zones = Intl.supportedValuesOf("timeZone");
  fc.assert(
    fc.property(instants, fc.constantFrom(...zones), (date, zone) => {
      const instant = Temporal.Instant.fromEpochMilliseconds(date.getTime());
      const there = instant.toZonedDateTimeISO(zone).toPlainDateTime();
      fc.pre(there.year >= 1000 && there.year <= 9999);
      // An hour that is there twice has two instants: the earlier is taken.
      const [earlier] = ["earlier", "later"].map((disambiguation) =>
        there.toZonedDateTime(zone, { disambiguation: disambiguation as "earlier" }).epochMilliseconds
      );
      assert.equal(
        read("local", there.toString(), "datetime(3)", zone),
        sql(new Date(earlier), 3),
        `${there} ${zone}`,
      );
    }),
    { numRuns: 2_000 },
  );
});

Deno.test("what is no time of its kind is refused", () => {
  const refusals: [TimeKind, unknown, RegExp][] = [
    ["iso", "2024-05-01T12:00:00", /no offset, use "time": "local"/],
    ["iso", "yesterday", /"yesterday" is not a time like/],
    ["iso", "2024-02-30T12:00:00Z", /is not a time like/],
    ["iso", 1714557600, /is not a time like/],
    ["local", "2023-02-29T12:00:00", /is not a time like/],
    ["epoch_s", "2024-05-01", /is not a number as epoch_s needs it/],
    ["epoch_s", true, /is not a number/],
    ["epoch_s", {}, /an object is not a number/],
    ["epoch_s", 1714557600123, /outside of the years 1000 to 9999/],
    ["epoch_s", 1e30, /is not a number|outside/],
  ];
  for (const [kind, value, message] of refusals) {
    assert.throws(() => read(kind, value), message, `${kind} ${value}`);
  }
  assert.equal(read("iso", null), null);
});

Deno.test("a time goes to date, time and text columns too", () => {
  const text = "2024-05-01T12:34:56.789Z";
  assert.equal(read("iso", text, "date"), "2024-05-01");
  assert.equal(read("iso", text, "time"), "12:34:56");
  assert.equal(read("iso", text, "varchar(30)"), "2024-05-01 12:34:56.789");
});

Deno.test("a time column without a kind takes what can only mean one time", () => {
  const as = (value: unknown, type: string) => convert(value, parseColumnType(type));
  assert.equal(as("2024-05-01T12:00:00.5+02:00", "datetime(3)"), "2024-05-01 10:00:00.500");
  assert.equal(as("2024-05-01T12:00:00", "timestamp"), "2024-05-01 12:00:00");
  assert.equal(as("2024-05-01", "date"), "2024-05-01");
  assert.equal(as("-12:30", "time"), "-12:30");
  assert.throws(() => as(20240501120000, "datetime"), /for a number say which kind, like "time": "epoch_s"/);
  assert.throws(() => as("noon", "datetime"), /"noon" is not a time/);
});

Deno.test("in a route a kind of time makes a column of times, and a wrong one is refused", () => {
  const columns = { at: { value: "$.t", time: "epoch_ms" as const }, upper: "= t" };
  const { objects, rows } = decodeOne({ topic: "a", table: "t", columns }, "a", { t: 1714557600123 });
  assert.deepEqual(objects, [{ at: "2024-05-01 10:00:00.123", upper: 1714557600123 }]);
  assert.equal(rows[0].shape.columns[0].type, "datetime(3)");
  const problem = (options: Partial<ColumnOptions>) =>
    problemsOf({ topic: "a", table: "t", columns: { at: { value: "$", ...options } } })[0];
  assert.match(
    problem({ time: "local", zone: "Europe/Nowhere" }),
    /^columns\.at: "Europe\/Nowhere" is no time zone/,
  );
  assert.match(problem({ time: "iso", zone: "UTC" }), /"zone" is only for "time": "local"/);
  assert.match(problem({ zone: "UTC" }), /"zone" needs "time": "local"/);
  assert.match(problem({ time: "iso", type: "double" }), /which double does not take/);
  assert.match(problem({ value: "@received", time: "iso" }), /not for @received/);
});
