/**
 * Columns that a route has got since its table was made: added while it is being written to, where that is allowed.
 */
import assert from "node:assert/strict";
import { StallError } from "../../src/errors.ts";
import type { RouteOptions } from "../../src/route/options.ts";
import { type Store, withEachStore, Writer } from "./store.ts";

const route = (columns: RouteOptions["columns"], more: Partial<RouteOptions> = {}): RouteOptions => ({
  topic: "home/{room}",
  table: "climate",
  decode: "json",
  columns: { ts: "@received", room: "{room}", ...columns },
  ...more,
});

const typed = (names: readonly string[], type = "double") =>
  Object.fromEntries(names.map((name) => [name, { value: `$.${name}`, type, unit: `unit of ${name}` }]));

async function columns(store: Store): Promise<Record<string, string>> {
  const sql = store.kind === "sqlite"
    ? "SELECT name, type FROM pragma_table_info('climate')"
    : "SELECT column_name AS name, column_type AS type FROM information_schema.columns WHERE table_schema = DATABASE() " +
      "AND table_name = 'climate' ORDER BY ordinal_position";
  return Object.fromEntries((await store.query(sql)).map((it) => [it.name, String(it.type).toLowerCase()]));
}

withEachStore("columns are added live, several at once, with their types", async (t, server, kind) => {
  await using store = await server.open({ addColumns: true });
  await new Writer(store.sink, [route(typed(["t"]))]).write("home/a", { t: 1 });
  await t.step("more than one statement could add one by one", async () => {
    const names = Array.from({ length: 12 }, (_, i) => `n${i}`);
    const more = {
      ...typed(["t", ...names]),
      d: { value: "$.d", type: "decimal(10,3)" },
      note: "$.note",
      flag: "$.flag",
    };
    const writer = new Writer(store.sink, [route(more)]);
    const payload = {
      t: 2,
      d: 1.5,
      note: "x",
      flag: true,
      ...Object.fromEntries(names.map((it, i) => [it, i])),
    };
    assert.equal(await writer.write("home/a", payload), 1);
    const types = await columns(store);
    const expected = kind === "sqlite"
      ? { d: "text", note: "text", flag: "integer", n0: "real" }
      : { d: "decimal(10,3)", note: "varchar(255)", flag: "tinyint(1)", n0: "double" };
    assert.deepEqual({ ...types, ...expected }, types);
    const rows = await store.query("SELECT n11, note FROM climate ORDER BY t");
    assert.deepEqual(rows.map((it) => [it.n11, it.note].map((v) => v === null ? null : String(v))), [[
      null,
      null,
    ], ["11", "x"]]);
  });
  await t.step("what every row has is added to a table that has rows", async () => {
    const writer = new Writer(store.sink, [
      route({ ...typed(["t"]), topic: "@topic", at: "@received", q: "@qos", p: "@payload" }),
    ]);
    assert.equal(await writer.write("home/a", { t: 3 }), 1);
    const [row] = await store.query("SELECT topic, q FROM climate WHERE t = 3");
    assert.deepEqual([String(row.topic), Number(row.q)], ["home/a", 1]);
  });
  await t.step("two routes that write one table, in one batch", async () => {
    const both = [route({ a: "$.a" }), route({ b: "$.b" }, { topic: "home/{room}/b" })];
    const writer = new Writer(store.sink, both);
    await writer.write("home/a", { a: 1 });
    await writer.write("home/a/b", { b: "x" });
    assert.deepEqual(writer.dead, []);
    const types = await columns(store);
    assert.deepEqual([types.a, types.b], kind === "sqlite" ? ["real", "text"] : ["double", "varchar(255)"]);
  });
});

withEachStore("gateways that add the same column at the same time all go on", async (_t, server) => {
  await using store = await server.open({ addColumns: true });
  for (let round = 0; round < 5; round++) {
    const writers = Array.from({ length: 4 }, (_, i) => {
      // The first round is the race for the table itself.
      const names = ["t", ...Array.from({ length: round * 3 }, (_, n) => `c${n}`), `only${i}_${round}`];
      return new Writer(store.another({ addColumns: true }), [route(typed(names))]);
    });
    await Promise.all(writers.map((it) => it.write("home/a", [{ t: 1 }, { t: 2 }])));
  }
  const [{ n }] = await store.query("SELECT count(*) AS n FROM climate");
  assert.equal(Number(n), 5 * 4 * 2);
  const names = Object.keys(await columns(store));
  assert.equal(names.filter((it) => /^c\d+$/.test(it)).length, 12);
  assert.equal(names.filter((it) => it.startsWith("only")).length, 20);
});

withEachStore(
  "where columns are not to be added, the table holds up its own rows and says so",
  async (_t, server) => {
    await using store = await server.open();
    await new Writer(store.sink, [route(typed(["t"]))]).write("home/a", { t: 1 });
    const writer = new Writer(store.sink, [route(typed(["t", "h"]))]);
    await assert.rejects(writer.write("home/a", { t: 2, h: 3 }), (error) => {
      assert.ok(error instanceof StallError, String(error));
      assert.match(error.message, /climate.*h\b/);
      return true;
    });
    const unmade = new Writer(store.another({ createTables: false }), [
      route(typed(["t"]), { table: "missing" }),
    ]);
    await assert.rejects(unmade.write("home/a", { t: 2 }), (error) => error instanceof StallError);
  },
);
