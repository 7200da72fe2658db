/**
 * Old rows go, whole partitions of them where the gateway has made the table, and nothing else does.
 *
 * Time is told by the rows and by a clock that the test sets. It lies in the past, because the database's clock is the
 * true one, and nothing is removed while the gateway's is ahead of it.
 */
import assert from "node:assert/strict";
import { StallError } from "../../src/errors.ts";
import { stepFor } from "../../src/mysql/partitions.ts";
import type { RouteOptions } from "../../src/route/options.ts";
import { waitFor } from "../servers/wait_for.ts";
import { SetClock, type Store, withEachStore, Writer } from "./store.ts";

const DAY = 86_400_000;
const HOUR = 3_600_000;
/** A year ago, at noon. */
const START = Math.floor(Date.now() / DAY - 365) * DAY + DAY / 2;

const route = (more: Partial<RouteOptions> = {}): RouteOptions => ({
  topic: "home/{room}",
  table: "climate",
  decode: "json",
  columns: { ts: "@received", room: "{room}", n: { value: "$.n", type: "int" } },
  retentionMs: 30 * DAY,
  ...more,
});

async function numbers(store: Store, table = "climate"): Promise<number[]> {
  return (await store.query(`SELECT n FROM ${store.name(table)} ORDER BY n`)).map((it) => Number(it.n));
}

async function partitions(store: Store, table = "climate"): Promise<string[]> {
  const rows = await store.query(
    `SELECT partition_name AS name FROM information_schema.partitions
     WHERE table_schema = DATABASE() AND table_name = ? AND partition_name IS NOT NULL
     ORDER BY partition_ordinal_position`,
    [table],
  );
  return rows.map((it) => String(it.name));
}

const partitionOf = (ms: number) => `sluice_${new Date(ms).toISOString().slice(0, 10).replaceAll("-", "")}`;

withEachStore(
  "a table that the gateway makes keeps its rows as long as it should, day after day",
  async (_t, server, kind) => {
    const clock = new SetClock(START);
    await using store = await server.open({ clock });
    const writer = new Writer(store.sink, [route()]);
    // A backlog of three days waits when the table is made.
    for (let day = -3; day < 45; day++) {
      await writer.write("home/a", { n: day }, START + day * DAY);
      if (day < 0) continue;
      clock.ms = START + day * DAY + 23 * HOUR;
      await writer.maintain(clock.ms);
      const there = await numbers(store);
      // The row of 29 days and 23 hours ago stays, in a partition whose first hours are too old.
      const oldest = Math.max(-3, day - 29);
      assert.deepEqual(there, Array.from({ length: day - oldest + 1 }, (_, i) => oldest + i));
      if (kind === "sqlite") continue;
      const names = await partitions(store);
      assert.ok(names.length <= 30 + 1 + 4 + 1, `${names.length} partitions`);
      assert.equal(names.at(-1), "sluice_later");
      for (let ahead = 1; ahead <= 2; ahead++) assert.ok(names.includes(partitionOf(clock.ms + ahead * DAY)));
    }
  },
);

withEachStore(
  "after a long pause of the gateway the future is in order again at its first sweep",
  async (_t, server) => {
    const clock = new SetClock(START);
    await using store = await server.open({ clock });
    const writer = new Writer(store.sink, [route()]);
    await writer.write("home/a", { n: 0 }, START);
    for (let day = 100; day < 140; day++) await writer.write("home/a", { n: day }, START + day * DAY);
    assert.equal((await partitions(store)).length, 5, "all of them lie in sluice_later");
    await writer.maintain(START + 140 * DAY + 1);
    const names = await partitions(store);
    assert.ok(names.length <= 36, names.join());
    assert.deepEqual(await numbers(store), Array.from({ length: 30 }, (_, i) => 110 + i));
  },
  ["mariadb", "mysql"],
);

withEachStore("a row is stored however late it comes, and removed when it is too old", async (_t, server) => {
  const clock = new SetClock(START);
  await using store = await server.open({ clock });
  const writer = new Writer(store.sink, [route()]);
  for (const age of [0, 20, 29, 45, 4_000, -4_000]) {
    assert.equal(await writer.write("home/a", { n: age }, START - age * DAY), 1);
  }
  assert.deepEqual(await numbers(store), [-4_000, 0, 20, 29, 45, 4_000]);
  await writer.maintain(START);
  assert.deepEqual(await numbers(store), [-4_000, 0, 20, 29]);
  await writer.maintain(START + 15 * DAY);
  assert.deepEqual(await numbers(store), [-4_000, 0]);
  assert.deepEqual(writer.dead, []);
});

withEachStore("a retention that is changed holds for a table that is there", async (_t, server) => {
  const clock = new SetClock(START);
  await using store = await server.open({ clock });
  const write = async (retentionMs: number, days: number[], sweepAt: number) => {
    const writer = new Writer(store.sink, [route({ retentionMs })]);
    for (const day of days) await writer.write("home/a", { n: day }, START + day * DAY);
    clock.ms = START + sweepAt * DAY;
    await writer.maintain(clock.ms);
  };
  await write(5 * DAY, [0, 1, 2, 3], 3);
  await write(600 * DAY, [4, 30], 60);
  assert.deepEqual(await numbers(store), [0, 1, 2, 3, 4, 30]);
  const weeks = (await partitions(store)).length;
  assert.ok(weeks <= 8 + 9 + 5, `${weeks}: weeks from here on`);
  await write(5 * DAY, [61], 62);
  assert.deepEqual(await numbers(store), [61]);
}, ["mariadb", "mysql"]);

Deno.test("there are never more than about a hundred partitions, however long rows are kept", () => {
  const spans = [1, 7, 30, 90, 92, 93, 365, 730, 3_650, 36_500].map((days) => {
    const steps = [false, true].map((isOneOfMany) => stepFor({ retentionMs: days * DAY, isOneOfMany }));
    for (const [i, { name, msMax }] of steps.entries()) {
      assert.ok(days * DAY / msMax <= [100, 20][i] || name === "year");
    }
    return steps[0].name;
  });
  assert.deepEqual(spans, ["day", "day", "day", "day", "day", "week", "week", "month", "quarter", "year"]);
});

withEachStore(
  "in a table of the user's own rows go by small deletes, and only the old ones",
  async (t, server, kind) => {
    await using store = await server.open();
    const make = (table: string, more: string) =>
      store.query(
        `CREATE TABLE ${table} (ts ${
          kind === "sqlite" ? "text" : "datetime(3)"
        }, room varchar(20), n int${more})`,
      );
    const old = (count: number) => Array.from({ length: count }, (_, n) => ({ n }));
    await t.step("with an index, while rows are being written", async () => {
      await make("climate", kind === "sqlite" ? "" : ", KEY (ts)");
      if (kind === "sqlite") await store.query("CREATE INDEX i ON climate (ts)");
      const writer = new Writer(store.sink, [route()]);
      await writer.write("home/a", old(1_700), START - 31 * DAY);
      await writer.write("home/a", [{ n: -1 }, { n: -2 }], START - 29 * DAY);
      const sweep = writer.maintain(START);
      for (let n = 0; n < 20; n++) await writer.write("home/a", { n: 5_000 + n }, START);
      const [{ advice }] = await sweep;
      assert.equal(advice, null);
      assert.deepEqual(await numbers(store), [-2, -1, ...Array.from({ length: 20 }, (_, n) => 5_000 + n)]);
    });
    await t.step("without an index, which is said", async () => {
      await make("plain", "");
      const writer = new Writer(store.sink, [route({ table: "plain" })]);
      await writer.write("home/a", old(700), START - 31 * DAY);
      await writer.write("home/a", { n: -1 }, START);
      const [{ advice }] = await writer.maintain(START);
      assert.match(advice!, /plain has no index that begins with ts/);
      assert.deepEqual(await numbers(store, "plain"), [-1]);
    });
    await t.step("a date is too old when all of its day is", async () => {
      await store.query("CREATE TABLE days (ts date, room varchar(20), n int)");
      const columns = { ts: { value: "@received", type: "date" }, n: "$.n" };
      const writer = new Writer(store.sink, [route({ table: "days", columns, retentionMs: 2 * DAY })]);
      await store.query("INSERT INTO days VALUES (?, 'a', 1), (?, 'a', 2)", [
        new Date(START - 3 * DAY).toISOString().slice(0, 10),
        new Date(START - 2 * DAY).toISOString().slice(0, 10),
      ]);
      await writer.maintain(START);
      assert.deepEqual(await numbers(store, "days"), [2]);
    });
    if (kind === "sqlite") return;
    await t.step("partitions that are called differently are left alone", async () => {
      await store.query(`CREATE TABLE own (ts datetime(3), room varchar(20), n int, KEY (ts))
      PARTITION BY RANGE COLUMNS (ts) (PARTITION p0 VALUES LESS THAN ('2001-01-01'), PARTITION p1 VALUES LESS THAN (MAXVALUE))`);
      const writer = new Writer(store.sink, [route({ table: "own" })]);
      await writer.write("home/a", { n: 1 }, Date.UTC(2000, 1, 1));
      await writer.write("home/a", { n: 2 }, START);
      await writer.maintain(START);
      assert.deepEqual(await numbers(store, "own"), [2]);
      assert.deepEqual(await partitions(store, "own"), ["p0", "p1"]);
    });
  },
);

withEachStore("what layouts and keys mean for old rows", async (t, server) => {
  await using store = await server.open({ clock: new SetClock(START) });
  await t.step("latest: a topic that was not heard for so long has no row", async () => {
    const writer = new Writer(store.sink, [route({ table: "now", layout: "latest" })]);
    await writer.write("home/a", { n: 1 }, START - 60 * DAY);
    await writer.write("home/b", { n: 2 }, START - 60 * DAY);
    await writer.write("home/b", { n: 3 }, START - 10 * DAY);
    await writer.maintain(START);
    assert.deepEqual(await numbers(store, "now"), [3]);
  });
  await t.step("a time of the payload's: what has none is not old", async () => {
    const columns = { at: { value: "$.at", time: "epoch_ms" as const }, n: { value: "$.n", type: "int" } };
    const writer = new Writer(store.sink, [route({ table: "own_time", columns })]);
    await writer.write("home/a", [{ n: 1, at: START - 31 * DAY }, { n: 2 }, { n: 3, at: START }], START);
    await writer.maintain(START);
    assert.deepEqual(await numbers(store, "own_time"), [2, 3]);
  });
  await t.step("a placeholder in the table's name: each table that there is", async () => {
    const writer = new Writer(store.sink, [route({ table: "of_{room}" })]);
    for (const room of ["a", "b"]) {
      await writer.write(`home/${room}`, { n: 1 }, START - 40 * DAY);
      await writer.write(`home/${room}`, { n: 2 }, START);
    }
    await writer.maintain(START);
    assert.deepEqual([await numbers(store, "of_a"), await numbers(store, "of_b")], [[2], [2]]);
  });
  await t.step("several routes to one table: nothing goes that one of them wants to keep", async () => {
    const fixed = (retentionMs?: number) => route({ topic: "other/{room}", table: "shared_a", retentionMs });
    for (const [other, left] of [[undefined, [1, 2, 3]], [50 * DAY, [2, 3]], [10 * DAY, [2, 3]]] as const) {
      const writer = new Writer(store.sink, [
        route({ table: "shared_{room}", retentionMs: 50 * DAY }),
        fixed(other),
      ]);
      for (const [n, age] of [[1, 70], [2, 40], [3, 0]]) {
        await writer.write("home/a", { n }, START - age * DAY);
      }
      await writer.maintain(START);
      assert.deepEqual(await numbers(store, "shared_a"), left);
      await store.query("DELETE FROM shared_a");
    }
  });
  await t.step("a table that is not there is no error", async () => {
    const writer = new Writer(store.sink, [route({ table: "nowhere" })]);
    assert.deepEqual(await writer.maintain(START), [{ more: false, hours: [], advice: null }]);
  });
});

withEachStore("what stands in the way of a table is said and holds up nobody", async (t, server) => {
  await using store = await server.open({ clock: new SetClock(START - 100 * DAY) });
  const writer = new Writer(store.sink, [route()]);
  const isStall = (pattern: RegExp) => (error: Error) => {
    assert.ok(error instanceof StallError, String(error));
    assert.match(error.message, pattern);
    return true;
  };
  await writer.write("home/a", { n: 1 }, START - 100 * DAY);
  await t.step("a clock that is ahead of the database's removes nothing", async () => {
    await assert.rejects(writer.maintain(Date.now() + 10 * 365 * DAY), isStall(/this machine's clock says/));
    assert.deepEqual(await numbers(store), [1]);
  });
  await t.step("a reader who does not end: rows are written, partitions wait", async () => {
    await store.query("START TRANSACTION");
    await store.query("SELECT * FROM climate");
    const sweep = assert.rejects(writer.maintain(START), isStall(/partitions of table climate.*lock/i));
    for (let n = 2; n < 10; n++) await writer.write("home/a", { n }, START);
    await sweep;
    await store.query("COMMIT");
    await writer.maintain(START);
    assert.deepEqual(await numbers(store), [2, 3, 4, 5, 6, 7, 8, 9]);
  });
  await t.step("rows that others refer to", async () => {
    await store.query("CREATE TABLE parent (n int PRIMARY KEY, ts datetime(3), room varchar(9), KEY (ts))");
    await store.query("CREATE TABLE child (n int, FOREIGN KEY (n) REFERENCES parent (n))");
    const parent = new Writer(store.sink, [route({ table: "parent" })]);
    await parent.write("home/a", { n: 1 }, START - 90 * DAY);
    await store.query("INSERT INTO child VALUES (1)");
    await assert.rejects(parent.maintain(START), isStall(/parent.*foreign key.*1451/i));
    await store.query("DELETE FROM child");
    await parent.maintain(START);
    assert.deepEqual(await numbers(store, "parent"), []);
  });
  await t.step("a column that is gone", async () => {
    await store.query("ALTER TABLE parent DROP COLUMN ts");
    const parent = new Writer(store.sink, [route({ table: "parent" })]);
    await assert.rejects(parent.maintain(START), isStall(/parent has no column ts/));
  });
  await t.step("an abort ends a sweep at once, and leaves no connection out", async () => {
    await store.query("LOCK TABLES climate READ");
    const abort = new AbortController();
    const sweep = store.sink.maintain!(
      { ...writer.router.kept[0], nowMs: START + 60 * DAY, hours: [] },
      abort.signal,
    );
    const reason = new Error("stop");
    setTimeout(() => abort.abort(reason), 100);
    await assert.rejects(sweep, (error) => error === reason);
    await store.query("UNLOCK TABLES");
    // The statement that was cut off may still be on its way in the server.
    await waitFor(async () => (await writer.maintain(START + 60 * DAY)).length > 0, {
      what: "another sweep",
    });
    assert.deepEqual(await numbers(store), []);
  });
}, ["mariadb", "mysql"]);

withEachStore(
  "two gateways that look after one table do not disturb each other",
  async (_t, server) => {
    const clock = new SetClock(START);
    await using store = await server.open({ clock });
    const writer = new Writer(store.sink, [route()]);
    const others = Array.from({ length: 3 }, () => store.another({ clock }));
    for (let day = 0; day < 60; day += 5) {
      await writer.write(
        "home/a",
        Array.from({ length: 20 }, (_, n) => ({ n: day * 100 + n })),
        START + day * DAY,
      );
      const sweeps = [store.sink, ...others].map((sink) => writer.maintain(START + day * DAY, sink));
      for (const it of await Promise.allSettled(sweeps)) {
        // On a busy machine one of them may have to wait for the others longer than it wants to.
        if (it.status === "rejected") assert.match(String(it.reason), /lock wait timeout/i);
      }
    }
    await waitFor(async () => (await writer.maintain(START + 55 * DAY)).length > 0, {
      what: "the last sweep",
    });
    const [oldest] = await numbers(store);
    assert.equal(oldest, 25 * 100);
  },
);
