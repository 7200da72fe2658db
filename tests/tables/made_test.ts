/**
 * Tables that the gateway makes: every layout and every preset gets one that takes its rows, whatever its columns are
 * called and however many there are, with the keys that people's queries need.
 */
import assert from "node:assert/strict";
import { createTableSql } from "../../src/mysql/ddl.ts";
import { hourlyTableSql } from "../../src/mysql/hourly.ts";
import { expandPreset, PRESET, shapesOf } from "../../src/route/mod.ts";
import { type ColumnOptions, PRESETS, type RouteOptions } from "../../src/route/options.ts";
import { type Store, withEachStore, Writer } from "./store.ts";

const DAY = 86_400_000;
const DEVICES = new URL("../decode/devices.jsonl", import.meta.url);

/** Families of devices.jsonl by preset, where they are not called alike. */
const FAMILIES: Readonly<Record<string, readonly string[]>> = {
  shelly: ["shelly_gen1", "shelly_gen2"],
  homie: ["homie4", "homie5"],
  sparkplug: ["sparkplug_b"],
};

const base: RouteOptions = { topic: "home/{room}/{what}", table: "t", decode: "json" };
const typed = { ts: "@received", room: "{room}", what: "{what}", n: { value: "$.n", type: "double" } };

const LAYOUTS: Readonly<Record<string, Partial<RouteOptions>>> = {
  wide: {},
  "wide with columns": { columns: typed },
  "wide, kept for 90 days and summed up": { columns: typed, retentionMs: 90 * DAY, hourly: true },
  "wide, kept for ten years": { columns: typed, retentionMs: 3_650 * DAY },
  "wide with a column id": { columns: { ...typed, id: "$.id" }, retentionMs: 9 * DAY },
  "wide with everything": {
    columns: {
      ...{ ts: "@received", topic: "@topic", payload: "@payload", qos: "@qos", retained: "@retain" },
      ...{ gateway: "@gateway", sequence: "@sequence", room: "{room}", what: "{what}", text: "$.text" },
    },
    retentionMs: 9 * DAY,
  },
  narrow: { layout: "narrow", retentionMs: 90 * DAY },
  "narrow with columns": { layout: "narrow", columns: typed, retentionMs: 90 * DAY, hourly: true },
  json: { layout: "json", retentionMs: 90 * DAY },
  latest: { layout: "latest", retentionMs: 90 * DAY },
  "latest of elements": {
    layout: "latest",
    each: "$.list",
    columns: { ts: "@received", v: "$" },
    retentionMs: 9 * DAY,
  },
  "with a key": { columns: typed, key: ["room", "what"], onDuplicateKey: "update", retentionMs: 90 * DAY },
  "with a key of a number": { columns: typed, key: ["n", "ts"], onDuplicateKey: "ignore" },
};

const PAYLOAD = { n: 21.5, id: "x", text: "y".repeat(200), list: { a: 1, b: 2 } };

const count = async (store: Store, table: string) =>
  Number((await store.query(`SELECT count(*) AS n FROM ${store.name(table)}`))[0].n);

/** A column of each name. */
const named = (names: readonly string[], type = "double"): RouteOptions["columns"] =>
  Object.fromEntries(
    names.map((name): [string, ColumnOptions] => [name, { value: "$.n", type, unit: `of ${name}` }]),
  );

const HOSTILE = [
  ...[
    "select",
    "group",
    "key",
    "order by",
    "a`b",
    'a"b',
    "a'b",
    "a;b--",
    "a/*b*/",
    "?",
    "a?b",
    "%s",
    "::x",
    "a\\b",
  ],
  ...[
    "ü",
    "日本語",
    "a b",
    "1",
    "1e5",
    "a.b",
    "$x",
    "#x",
    "A".repeat(64),
    "ß".repeat(64),
    "null",
    "`",
    '"',
    "rowid",
    "_id",
  ],
  ...["a\tb", "a\nb", "VALUES(x)", "@x", "öÖ"],
];

withEachStore("every layout's table is made and takes rows", async (t, server, kind) => {
  await using store = await server.open();
  let n = 0;
  for (const [name, more] of Object.entries(LAYOUTS)) {
    await t.step(name, async () => {
      const table = `t${++n}`;
      const writer = new Writer(store.sink, [{ ...base, ...more, table }]);
      const rows = await writer.write("home/a/b", [PAYLOAD, PAYLOAD], Date.now());
      assert.deepEqual(writer.dead, []);
      assert.ok(rows >= 2, `${rows} rows`);
      const there = await count(store, table);
      const isOverwritten = more.layout === "latest" || more.key !== undefined;
      assert.equal(there, isOverwritten ? (more.each ? 2 : 1) : rows);
      await writer.maintain(Date.now());
      assert.equal(await count(store, table), there);
      if (kind === "sqlite") return;
      // What `ddl` prints before there is any row.
      const [shape] = shapesOf([{ ...base, ...more, table: `${table}_planned` }]);
      await store.query(createTableSql(shape));
      const hourly = hourlyTableSql(shape);
      if (hourly) await store.query(hourly);
    });
  }
});

withEachStore("every preset's tables are made and take what its devices say", async (t, server, kind) => {
  await using store = await server.open();
  const lines = Deno.readTextFileSync(DEVICES).trimEnd().split("\n").map((it) => JSON.parse(it));
  for (const preset of PRESETS) {
    await t.step(preset, async () => {
      const given: RouteOptions = {
        preset,
        retentionMs: 90 * DAY,
        ...(preset === "plain" && { topic: "sensors" }),
      };
      const routes = expandPreset({ ...given, hourly: true });
      const writer = new Writer(store.sink, routes);
      let rows = 0;
      for (const { family, topic, payload, payload_base64 } of lines) {
        if (!(FAMILIES[preset] ?? [preset]).includes(family)) continue;
        rows += await writer.write(
          topic,
          payload ?? Uint8Array.fromBase64(payload_base64),
          Date.now() - 3 * DAY,
        );
      }
      assert.deepEqual(writer.dead.filter((it) => it.errno !== null), []);
      assert.ok(rows > 0);
      await writer.maintain(Date.now());
      const { table } = PRESET[preset];
      const summary = await store.query(`SELECT count(*) AS n FROM ${store.name(`${table}_hourly`)}`);
      assert.ok(Number(summary[0].n) > 0, "hours are summed up");
      if (kind === "sqlite") return;
      for (const shape of shapesOf(routes)) {
        await store.query(createTableSql({ ...shape, table: `planned_${shape.table}` }));
      }
      const latest = new Writer(
        store.sink,
        expandPreset({ ...given, table: `${table}_now`, layout: "latest" }),
      );
      for (const { family, topic, payload } of lines) {
        if (family === preset && payload !== undefined) await latest.write(topic, payload);
      }
      assert.deepEqual(latest.dead.filter((it) => it.errno !== null), []);
    });
  }
});

withEachStore(
  "whatever columns and tables are called, and however many there are",
  async (t, server, kind) => {
    await using store = await server.open({ addColumns: true });
    const check = async (table: string, columns: RouteOptions["columns"], payload: unknown = PAYLOAD) => {
      const writer = new Writer(store.sink, [{ ...base, table, columns }]);
      assert.equal(await writer.write("home/a/b", payload), 1);
      assert.deepEqual(writer.dead, []);
      assert.equal(await count(store, table), 1);
    };
    await t.step("names that are SQL, quotes, or not Latin", async () => {
      await check("hostile", { ts: "@received", ...named(HOSTILE) });
      const [row] = await store.query("SELECT * FROM hostile");
      for (const name of HOSTILE) assert.equal(Number(row[name]), 21.5, name);
      for (const name of ["select", "a`b", 'a"b', "a'b", "日本語", "t".repeat(64), "x y", "a;b"]) {
        await check(name, { ts: "@received", v: { value: "$.n", type: "double" } });
      }
    });
    await t.step("added one after the other", async () => {
      await check("added", { ts: "@received" });
      const writer = new Writer(store.sink, [{
        ...base,
        table: "added",
        columns: { ts: "@received", ...named(HOSTILE) },
      }]);
      await writer.write("home/a/b", PAYLOAD);
      assert.equal(await count(store, "added"), 2);
    });
    const many = (n: number, type: string, key = "c") =>
      named(Array.from({ length: n }, (_, i) => `${key}${i}`), type);
    const text = (n: number) => ({ n: "x".repeat(n) });
    await t.step("60 texts of 512", () => check("wide1", many(60, "varchar(512)"), text(512)));
    await t.step(
      "300 texts of 255",
      () => kind === "sqlite" ? undefined : check("wide2", many(190, "varchar(255)"), text(40)),
    );
    await t.step("150 short texts", () => check("wide3", many(150, "varchar(50)"), text(50)));
    await t.step("a text of 20,000", () => check("wide4", many(2, "varchar(20000)"), text(20_000)));
    await t.step("bytes of 40,000, twice", () => check("wide5", many(2, "varbinary(40000)"), text(40_000)));
    await t.step("900 numbers", () => check("wide6", many(900, "double")));
    await t.step("long series", async () => {
      const level = (type: string) => ({ value: "{room}", type });
      const columns = {
        ts: "@received",
        a: level("varchar(700)"),
        b: level("varchar(800)"),
        c: level("text"),
        d: "{what}",
      };
      await check("series1", columns);
      const levels = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`l${i}`, "{room}"]));
      await check("series2", { ts: "@received", ...levels });
    });
  },
);

withEachStore("units are comments of the columns, also of those that are added", async (_t, server) => {
  await using store = await server.open({ addColumns: true });
  const units = { t: "°C", q: `it's "50 %" \\ of \`it\``, long: "x".repeat(3_000), line: "a\nb\0c" };
  const columns = (names: string[]) => ({
    ts: "@received",
    ...Object.fromEntries(names.map((name) => [name, {
      value: "$.n",
      type: "double",
      unit: units[name as keyof typeof units],
    }])),
  });
  for (const names of [["t", "q"], ["t", "q", "long", "line"]]) {
    await new Writer(store.sink, [{ ...base, columns: columns(names) }]).write("home/a/b", PAYLOAD);
  }
  const rows = await store.query("SHOW FULL COLUMNS FROM t");
  const comments = Object.fromEntries(rows.map((it) => [it.Field, it.Comment]));
  assert.deepEqual(comments, { id: "", ts: "", ...units, long: "x".repeat(1_024), line: "abc" });
  const narrow = new Writer(store.sink, [{
    ...{ ...base, table: "narrow", layout: "narrow" as const },
    columns: { ts: "@received", power: { value: "$.n", type: "double", unit: "W" } },
  }]);
  await narrow.write("home/a/b", PAYLOAD);
  const [{ Comment }] = await store.query("SHOW FULL COLUMNS FROM narrow WHERE Field = 'value'");
  assert.equal(Comment, "W");
}, ["mariadb", "mysql"]);

withEachStore("one series of one day is a range of an index", async (_t, server) => {
  await using store = await server.open();
  const now = Date.now();
  for (const retentionMs of [undefined, 90 * DAY]) {
    const table = retentionMs ? "kept" : "readings";
    const writer = new Writer(
      store.sink,
      expandPreset({ preset: "plain", topic: "home", table, retentionMs }),
    );
    for (let device = 0; device < 30; device++) {
      for (let day = 0; day < 5; day++) {
        const values = Array.from({ length: 20 }, (_, n) => ({ t: n, h: n, p: n }));
        await writer.write(`home/d${device}/x`, values, now - day * DAY);
      }
    }
    await store.query(`ANALYZE TABLE ${table}`);
    const [plan] = await store.query(
      `EXPLAIN SELECT received_at AS time, value FROM ${table} WHERE device = 'd7' AND name = 'x.h'
       AND received_at BETWEEN FROM_UNIXTIME(?) AND FROM_UNIXTIME(?)`,
      [(now - 1.5 * DAY) / 1_000, (now - 0.5 * DAY) / 1_000],
    );
    assert.match(
      JSON.stringify(plan),
      /"type":"range".*"key":"device"|Index range scan on \w+ using device over/,
    );
    const [{ n }] = await store.query(`SELECT count(*) AS n FROM ${table} WHERE device = 'D7'`);
    assert.equal(Number(n), 0, "a device is told from others letter by letter");
  }
}, ["mariadb", "mysql"]);

withEachStore("what is told apart in topics is told apart in keys", async (_t, server) => {
  await using store = await server.open();
  const writer = new Writer(store.sink, [{ ...base, topic: "home/{room}", layout: "latest" }]);
  for (const room of ["tv", "TV", "a", "ä", "ss", "ß", "😀", "😁"]) {
    await writer.write(`home/${room}`, PAYLOAD);
  }
  assert.equal(await count(store, "t"), 8);
});

withEachStore("routes to one table make one with the columns of all", async (_t, server) => {
  await using store = await server.open();
  const routes: RouteOptions[] = [
    {
      topic: "a/{room}",
      table: "t",
      decode: "json",
      columns: { ts: "@received", room: "{room}", t: { value: "$.t", type: "double" } },
    },
    {
      topic: "b/{floor}",
      table: "t",
      decode: "json",
      columns: { ts: "@received", floor: "{floor}", h: { value: "$.h", type: "int" } },
    },
  ];
  const writer = new Writer(store.sink, routes);
  await writer.write("a/x", { t: 1 });
  await writer.write("b/y", { h: 2 });
  const rows = await store.query("SELECT room, t, floor, h FROM t ORDER BY id");
  assert.deepEqual(rows.map((it) => Object.values(it).map((v) => v === null ? null : String(v))), [
    ["x", "1", null, null],
    [null, null, "y", "2"],
  ]);
});

Deno.test("what cannot be a table of MySQL's is refused with its reason", async () => {
  const { parseConfig, WrongConfigurationError } = await import("../../src/config/load.ts");
  const messages = (routes: unknown[], database = "mysql://a@b/c") => {
    const text = JSON.stringify({ broker: { url: "mqtt://a" }, database: { url: database }, routes });
    try {
      parseConfig(text, "/etc/sluice.json");
      return "";
    } catch (error) {
      assert.ok(error instanceof WrongConfigurationError, String(error));
      return error.findings.map((it) => it.message).join("\n");
    }
  };
  const { table: _, ...rest } = base;
  const one = (more: Record<string, unknown>) => messages([{ ...rest, table: "t", columns: typed, ...more }]);
  assert.equal(one({}), "");
  assert.match(one({ columns: { ["x".repeat(65)]: "$.n" } }), /has 65 characters, MySQL's limit is 64/);
  assert.match(one({ columns: { "a ": "$.n" } }), /ends with a space/);
  assert.match(one({ columns: { t: "$.n", T: "$.n" } }), /two columns are called "T"/);
  assert.match(one({ table: "x".repeat(60), hourly: true }), /hourly table x+_hourly has 67 characters/);
  assert.match(
    one({ columns: { ts: "@received", ["x".repeat(60)]: "$.n" }, hourly: true }),
    /x_count" of t_hourly has/,
  );
  const long = { ts: "@received", n: "$.n", topic: "@topic", k: "@key", room: "{room}" };
  assert.match(one({ columns: long, each: "$.list", hourly: true }), /3073 bytes.*limit is 3072.*"by"/s);
  assert.equal(one({ columns: long, each: "$.list", hourly: { by: ["room"] } }), "");
  const day = { ...typed, ts: { value: "@received", type: "date" } };
  assert.match(one({ columns: day, hourly: true, retention: "90d" }), /"ts" is a date alone/);
  assert.equal(one({ columns: typed, hourly: true, retention: "90d" }), "");
});
