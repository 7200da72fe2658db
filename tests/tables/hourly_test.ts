/**
 * Hourly summaries say exactly what the rows say, whenever these come and whatever happens in between.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { StallError } from "../../src/errors.ts";
import { expandPreset } from "../../src/route/mod.ts";
import type { RouteOptions } from "../../src/route/options.ts";
import { waitFor } from "../servers/wait_for.ts";
import { SetClock, type Store, withEachStore, Writer } from "./store.ts";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
/** Half a year ago, at midnight. */
const START = Math.floor(Date.now() / DAY - 180) * DAY;

const route = (more: Partial<RouteOptions> = {}): RouteOptions => ({
  topic: "home/{room}",
  table: "climate",
  decode: "json",
  columns: {
    ts: "@received",
    room: "{room}",
    t: { value: "$.t", type: "double", unit: "°C" },
    on: { value: "$.on", type: "boolean" },
    note: { value: "$.note", type: "varchar(20)" },
  },
  hourly: true,
  ...more,
});

const hourOf = (text: unknown) => (Date.parse(`${String(text).replace(" ", "T")}Z`) - START) / HOUR;

/** Rows of a summary as `hour series: min mean max count` for one column. */
async function summary(store: Store, table = "climate", column = "t", by = ["room"]): Promise<string[]> {
  const rows = await store.query(`SELECT * FROM ${store.name(`${table}_hourly`)}`);
  return rows.map((row) => {
    const values = ["min", "mean", "max", "count"].map((it) => row[`${column}_${it}`]);
    const series = by.map((it) => row[it]).join("/");
    return `${hourOf(row.hour)} ${series}: ${values.map((it) => it === null ? null : Number(it)).join(" ")}`;
  }).sort((a, b) => parseInt(a) - parseInt(b) || (a < b ? -1 : 1));
}

withEachStore(
  "an hour that is over has minimum, mean, maximum and count of each number, by series",
  async (t, server) => {
    await using store = await server.open();
    const writer = new Writer(store.sink, [route()]);
    await t.step("of a wide table, by the placeholders of its topic", async () => {
      await writer.write("home/a", [{ t: 1, on: true }, { t: 4, on: "off" }, { t: null, on: true }, {
        note: "x",
      }], START);
      await writer.write("home/a", { t: 100 }, START + HOUR);
      await writer.write("home/b", { t: -2.5 }, START + HOUR - 1);
      await writer.write("home/A", { t: 7 }, START + HOUR - 1);
      await writer.write("home/c", { note: "nothing to count" }, START);
      await writer.maintain(START + HOUR - 1);
      assert.deepEqual(await summary(store), [], "it is not over yet");
      await writer.maintain(START + HOUR);
      assert.deepEqual(await summary(store), ["0 A: 7 7 7 1", "0 a: 1 2.5 4 2", "0 b: -2.5 -2.5 -2.5 1"]);
      await writer.maintain(START + 5 * HOUR);
      const [a] = (await summary(store, "climate", "on")).filter((it) => it.startsWith("0 a"));
      assert.equal(a, "0 a: 0 0.6666666666666666 1 3".slice(0, a.length));
      assert.deepEqual((await summary(store)).at(-1), "1 a: 100 100 100 1");
    });
    await t.step("a second time changes nothing", async () => {
      const before = await summary(store);
      await writer.maintain(START + 5 * HOUR);
      await new Writer(store.sink, [route()]).maintain(START + 6 * HOUR);
      assert.deepEqual(await summary(store), before);
    });
  },
);

withEachStore(
  "hours of every layout are summed up by what tells its series apart",
  async (t, server) => {
    await using store = await server.open();
    await t.step("of a narrow table and of a preset, by device and name", async () => {
      const narrow = route({
        table: "narrow",
        layout: "narrow",
        columns: {
          ts: "@received",
          room: "{room}",
          a: { value: "$.a", type: "double" },
          b: { value: "$.b", type: "double" },
        },
      });
      const routes: RouteOptions[] = [narrow, { preset: "zigbee2mqtt", hourly: true }];
      const both = new Writer(store.sink, routes.flatMap(expandPreset));
      await both.write("home/a", [{ a: 1, b: 2 }, { a: 3 }], START);
      await both.write("zigbee2mqtt/lamp", { power: 5, state: "ON", deep: { x: 1 } }, START);
      await both.write("zigbee2mqtt/lamp", { power: 7, linkquality: 80 }, START);
      await both.maintain(START + HOUR);
      assert.deepEqual(await summary(store, "narrow", "value", ["room", "name"]), [
        "0 a/a: 1 2 3 2",
        "0 a/b: 2 2 2 1",
      ]);
      assert.deepEqual(await summary(store, "zigbee2mqtt", "value", ["device", "name"]), [
        "0 lamp/deep.x: 1 1 1 1",
        "0 lamp/linkquality: 80 80 80 1",
        "0 lamp/power: 5 6 7 2",
        "0 lamp/state: 1 1 1 1",
      ]);
    });
    await t.step("by the columns that are named, and by none", async () => {
      const columns = {
        ts: "@received",
        site: { value: "= 'x' + string(n)", type: "varchar(9)" },
        n: { value: "$.n", type: "int" },
      };
      const all = route({ table: "all_in_one", columns, hourly: { by: [] } });
      const writer = new Writer(store.sink, [
        route({ table: "by_site", columns, hourly: { by: ["site"] } }),
        all,
      ]);
      await writer.write("home/a", [{ n: 1 }, { n: 2 }, { n: 2 }], START);
      await writer.maintain(START + HOUR);
      assert.deepEqual(await summary(store, "by_site", "n", ["site"]), ["0 x1: 1 1 1 1", "0 x2: 2 2 2 2"]);
      assert.equal((await summary(store, "all_in_one", "n", []))[0].slice(0, 10), "0 : 1 1.66");
    });
  },
);

withEachStore(
  "hours are those of the row's time, and least and greatest keep their digits",
  async (t, server, kind) => {
    await using store = await server.open();
    await t.step("by a time of the payload's, and a placeholder in the table's name", async () => {
      const columns = { at: { value: "$.at", time: "epoch_ms" as const }, n: "$.n" };
      const writer = new Writer(store.sink, [route({ table: "of_{room}", columns, hourly: true })]);
      await writer.write(
        "home/a",
        [{ at: START, n: 1 }, { n: 5 }, { at: START + 2 * HOUR, n: 3 }],
        START + 9 * HOUR,
      );
      await writer.write("home/b", { at: START, n: 2 }, START + 9 * HOUR);
      await writer.maintain(START + 10 * HOUR);
      assert.deepEqual(await summary(store, "of_a", "n", []), ["0 : 1 1 1 1", "2 : 3 3 3 1"]);
      assert.deepEqual(await summary(store, "of_b", "n", []), ["0 : 2 2 2 1"]);
    });
    if (kind === "sqlite") return;
    await t.step("least and greatest keep their digits", async () => {
      const columns = {
        ts: "@received",
        d: { value: "$.d", type: "decimal(30,15)" },
        b: { value: "$.b", type: "bigint unsigned" },
      };
      const writer = new Writer(store.sink, [route({ table: "exact", columns })]);
      const values = { d: "123456789012345.123456789012345", b: "18446744073709551615" };
      await writer.write("home/a", `{ "d": ${values.d}, "b": ${values.b} }`, START);
      await writer.maintain(START + HOUR);
      const [row] = await store.query(
        "SELECT CAST(d_min AS CHAR) AS d, CAST(b_max AS CHAR) AS b FROM exact_hourly",
      );
      assert.deepEqual({ ...row }, values);
    });
  },
);

withEachStore("rows that come late end up in their hours, also over restarts", async (t, server) => {
  await using store = await server.open();
  const memory = new Map<string, string>();
  const restarted = (more?: Partial<RouteOptions>) => {
    const writer = new Writer(store.sink, [route(more)], memory);
    writer.onMemory = (key, value) => value === null ? memory.delete(key) : memory.set(key, value);
    return writer;
  };
  let writer = restarted();
  await t.step("a backlog of a week that drains while hours pass", async () => {
    await writer.write("home/b", { t: 0 }, START + 170 * HOUR);
    await writer.maintain(START + 171 * HOUR);
    for (let hour = 0; hour < 170; hour++) {
      await writer.write("home/a", [{ t: hour }, { t: hour + 1 }], START + hour * HOUR);
      if (hour % 60 === 59) await writer.maintain(START + 171 * HOUR);
    }
    await writer.maintain(START + 171 * HOUR);
    const expected = Array.from(
      { length: 170 },
      (_, hour) => `${hour} a: ${hour} ${hour + 0.5} ${hour + 1} 2`,
    );
    assert.deepEqual(await summary(store), [...expected, "170 b: 0 0 0 1"]);
  });
  await t.step(
    "rows of long ago, after which the gateway crashes before it looks at their hours again",
    async () => {
      await writer.write("home/a", { t: 1_000 }, START + 7 * HOUR);
      await writer.write("home/a", { t: 2_000 }, START + 8 * HOUR);
      writer = restarted();
      await writer.maintain(START + 171 * HOUR);
      const rows = (await summary(store)).filter((it) => /^[78] /.test(it));
      assert.deepEqual(rows.map((it) => it.split(" ").slice(-2)), [["1000", "3"], ["2000", "3"]]);
    },
  );
  await t.step("rows from before it was asked for, a turn at a time", async () => {
    const plain = restarted({ table: "old", hourly: false });
    for (let hour = 0; hour < 30; hour += 3) await plain.write("home/a", { t: hour }, START + hour * HOUR);
    const asked = restarted({ table: "old" });
    await asked.maintain(START + 100 * HOUR);
    assert.equal((await summary(store, "old")).length, 10);
  });
});

withEachStore("hours stay when their rows have gone", async (t, server) => {
  const clock = new SetClock(START);
  await using store = await server.open({ clock });
  const writer = new Writer(store.sink, [route({ retentionMs: 2 * DAY })]);
  await t.step("what is removed was summed up", async () => {
    for (let hour = 0; hour < 100; hour += 5) {
      await writer.write("home/a", { t: hour }, START + hour * HOUR);
    }
    await writer.maintain(START + 100 * HOUR);
    const rows = await store.query("SELECT t FROM climate");
    assert.ok(rows.length <= 15, `${rows.length} are left of 20`);
    assert.equal((await summary(store)).length, 20);
  });
  const before = await summary(store);
  await t.step("a late row does not make less of an hour, nor anything of what is too old", async () => {
    await writer.write("home/a", { t: 999 }, START + 5 * HOUR);
    await writer.write("home/a", [{ t: 1 }, { t: 2 }, { t: 3 }], START + 10 * HOUR);
    await writer.maintain(START + 101 * HOUR);
    assert.deepEqual(await summary(store), before);
  });
  await t.step("an hour that never had rows gets its late ones", async () => {
    await writer.write("home/z", { t: 3 }, START + 6 * HOUR);
    await writer.maintain(START + 102 * HOUR);
    assert.ok((await summary(store)).includes("6 z: 3 3 3 1"));
  });
  await t.step("rows that were deleted by hand take nothing away", async () => {
    await writer.write("home/a", [{ t: 1 }, { t: 2 }, { t: 6 }], START + 98 * HOUR);
    await writer.maintain(START + 103 * HOUR);
    await store.query("DELETE FROM climate WHERE t < 6");
    await writer.write("home/a", { t: 50 }, START + 98 * HOUR);
    await writer.maintain(START + 103 * HOUR);
    assert.ok((await summary(store)).includes("98 a: 1 3 6 3"));
  });
  await t.step("a retention of less than an hour removes nothing that is not summed up", async () => {
    const short = new Writer(store.sink, [route({ table: "short", retentionMs: 60_000 })]);
    await short.write("home/a", { t: 1 }, START);
    await short.maintain(START + HOUR / 2);
    assert.equal((await store.query("SELECT t FROM short")).length, 1);
    await short.maintain(START + HOUR + 120_000);
    assert.equal((await store.query("SELECT t FROM short")).length, 0);
    assert.deepEqual(await summary(store, "short"), ["0 a: 1 1 1 1"]);
  });
});

withEachStore("summaries follow their table, or say what is in the way", async (t, server) => {
  await using store = await server.open({ addColumns: true });
  const columns = { ts: "@received", room: "{room}", t: { value: "$.t", type: "double" } };
  const isStall = (pattern: RegExp) => (error: Error) => {
    assert.ok(error instanceof StallError, String(error));
    assert.match(error.message, pattern);
    return true;
  };
  await t.step("a column that is added", async () => {
    let writer = new Writer(store.sink, [route({ columns })]);
    await writer.write("home/a", { t: 1 }, START);
    await writer.maintain(START + HOUR);
    writer = new Writer(store.sink, [
      route({ columns: { ...columns, h: { value: "$.h", type: "double" } } }),
    ]);
    await writer.write("home/a", { t: 2, h: 60 }, START + HOUR);
    await writer.maintain(START + 2 * HOUR);
    assert.deepEqual(
      await summary(store, "climate", "h"),
      ["0 a:    0", "1 a: 60 60 60 1"],
    );
  });
  await t.step("other series", async () => {
    const other = new Writer(store.sink, [route({ columns, hourly: { by: [] } })]);
    await other.write("home/a", { t: 2 }, START + 3 * HOUR);
    await assert.rejects(
      other.maintain(START + 9 * HOUR),
      isStall(/primary key of table climate_hourly is \(.*room/),
    );
  });
  await t.step("tables are not to be made", async () => {
    const writer = new Writer(store.another({ createTables: false }), [route({ table: "own" })]);
    const making = new Writer(store.sink, [route({ table: "own" })]);
    await making.write("home/a", { t: 2 }, START);
    await assert.rejects(writer.maintain(START + HOUR), isStall(/own_hourly.*createTables is false/));
  });
});

withEachStore("an abort ends a sum that would take a quarter of an hour", async (_t, server) => {
  await using store = await server.open();
  const writer = new Writer(store.sink, [route({ table: "rows" })]);
  await writer.write("home/a", { t: 1 }, START);
  await store.query("CREATE VIEW slow AS SELECT ts, room, t + SLEEP(900) AS t, 1 AS `on` FROM `rows`");
  const [kept] = new Writer(store.sink, [route({ table: "slow" })]).router.kept;
  const abort = new AbortController();
  const reason = new Error("stop");
  const sweep = store.sink.maintain!({ ...kept, nowMs: START + HOUR, hours: [] }, abort.signal);
  const ended = assert.rejects(sweep, (error) => error === reason);
  const sums =
    "SELECT id AS id FROM information_schema.processlist WHERE info LIKE 'INSERT%slow%' AND state LIKE '%sleep%'";
  const { id } = await waitFor(async () => (await store.query(sums))[0], { what: "the sum to be under way" });
  abort.abort(reason);
  await ended;
  await store.query(`KILL ${id}`);
}, ["mariadb", "mysql"]);

withEachStore("whatever comes in whatever order, hours say what rows say", async (_t, server) => {
  await using store = await server.open();
  let n = 0;
  const action = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        hour: fc.integer({ min: 0, max: 9 }),
        room: fc.constantFrom("a", "b"),
        t: fc.integer({ min: -4, max: 4 }),
      }),
    },
    { weight: 2, arbitrary: fc.constantFrom("maintain" as const, "restart" as const, "both" as const) },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(action, { minLength: 5, maxLength: 40 }), async (actions) => {
      const table = `random_${++n}`;
      const memory = new Map<string, string>();
      let writer = new Writer(store.sink, [route({ table })], memory);
      writer.onMemory = (key, value) => value === null ? memory.delete(key) : memory.set(key, value);
      const known = new Map<string, number[]>();
      for (const it of actions) {
        if (it === "restart") {
          const { onMemory } = writer;
          writer = new Writer(store.sink, [route({ table })], memory);
          writer.onMemory = onMemory;
        } else if (it === "maintain") await writer.maintain(START + 6 * HOUR);
        else if (it === "both") {
          const other = new Writer(store.sink, [route({ table })], memory);
          await Promise.all([writer.maintain(START + 6 * HOUR), other.maintain(START + 6 * HOUR)]);
        } else {
          const { hour, room, t } = it;
          await writer.write(`home/${room}`, { t }, START + hour * HOUR);
          const key = `${hour} ${room}`;
          known.set(key, [...known.get(key) ?? [], t]);
        }
      }
      if (known.size === 0) return;
      await writer.maintain(START + 20 * HOUR);
      const expected = [...known].map(([key, values]) => {
        const mean = values.reduce((sum, it) => sum + it, 0) / values.length;
        return `${key}: ${Math.min(...values)} ${mean} ${Math.max(...values)} ${values.length}`;
      });
      const rounded = (rows: string[]) => rows.map((row) => row.replace(/\.(\d{6})\d*/, ".$1")).sort();
      assert.deepEqual(rounded(await summary(store, table)), rounded(expected));
    }),
    { numRuns: 12 },
  );
});
