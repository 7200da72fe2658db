/**
 * The real gateway looks after its tables: at the start, after a reload, beside its lanes, and it stops at once.
 */
import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import type { Database } from "../servers/database.ts";
import { startMosquitto } from "../servers/mosquitto.ts";
import { eachDatabase, type StartDatabase, testWith } from "../servers/needs.ts";
import { openPublisher } from "../servers/publisher.ts";
import { waitFor } from "../servers/wait_for.ts";
import { checkSums, Sluice } from "./sluice.ts";

const DAY = 86_400_000;

const route = (more: Record<string, unknown> = {}) => ({
  topic: "Home/{room}/climate",
  table: "climate",
  decode: "json",
  columns: { ts: "@received", room: "{room}", t: { value: "$.t", type: "double" } },
  ...more,
});

const timeText = (ms: number) => new Date(ms).toISOString().slice(0, 23).replace("T", " ");

/** So many rows of long ago, and one of an hour ago, in a table that the user has made. */
async function makeTable(database: Database, schema: string, old: number): Promise<void> {
  await database.admin(
    `CREATE TABLE ${schema}.climate (id int AUTO_INCREMENT PRIMARY KEY, ts datetime(3), room varchar(20), t double, KEY (ts))`,
  );
  const rows = Array.from(
    { length: old },
    (_, n) => [timeText(Date.now() - 40 * DAY - n * 1_000), "old", n % 100],
  );
  rows.push([timeText(Date.now() - 2 * 3_600_000), "new", 1]);
  await database.admin(`INSERT INTO ${schema}.climate (ts, room, t) VALUES ?`, [rows]);
}

const count = async (database: Database, from: string) =>
  Number((await database.admin(`SELECT count(*) AS n FROM ${from}`))[0].n);

async function besideTheLanes(start: StartDatabase): Promise<void> {
  await using broker = await startMosquitto();
  await using database = await start();
  const schema = await database.createDatabase();
  await makeTable(database, schema, 4_000);
  const config = {
    broker: { url: broker.url },
    database: { url: database.url(schema), pool: { size: 1, maxOverflow: 0 } },
    routes: [route({ retention: "30d", hourly: true })],
  };
  await using sluice = await Sluice.start({ config });
  await using publisher = await openPublisher(broker.url, { qos: 1 });
  await sluice.until("the broker to be connected", (it) => it.broker.connected);
  const sent = 200;
  for (let n = 0; n < sent; n++) await publisher.publish("Home/attic/climate", JSON.stringify({ t: n }));
  await waitFor(async () => await count(database, `${schema}.climate WHERE room = 'old'`) === 0, {
    what: "the old rows to go",
  });
  const status = await sluice.until("all to be stored", ({ totals }) => totals.stored === sent);
  checkSums(status);
  assert.equal(await count(database, `${schema}.climate`), sent + 1);
  const [{ n, most }] = await database.admin(
    `SELECT SUM(t_count) AS n, MAX(t_max) AS most FROM ${schema}.climate_hourly WHERE room = 'old'`,
  );
  assert.deepEqual([Number(n), Number(most)], [4_000, 99], "they were summed up before");
  assert.equal(await count(database, `${schema}.climate_hourly WHERE room = 'new'`), 1);
  assert.equal(await sluice.stop(), 0, sluice.output);
  assert.doesNotMatch(sluice.output, /"level":"(warning|error)"/);
}

async function wholePartitions(start: StartDatabase): Promise<void> {
  await using broker = await startMosquitto();
  await using database = await start();
  const schema = await database.createDatabase();
  const config = (retention: string) => ({
    ...{ broker: { url: broker.url }, database: { url: database.url(schema) } },
    routes: [route({ retention }), route({ topic: "Home/{room}/other", table: "{room}", retention })],
  });
  await using sluice = await Sluice.start({ config: config("90d") });
  await using publisher = await openPublisher(broker.url, { qos: 1 });
  await sluice.until("the broker to be connected", (it) => it.broker.connected);
  for (const topic of ["Home/attic/climate", "Home/attic/other"]) {
    await publisher.publish(topic, '{"t":1}');
  }
  await sluice.until("both to be stored", ({ totals }) => totals.stored === 2);
  for (const table of ["climate", "attic"]) {
    for (const days of [10, 50, 100]) {
      await database.admin(`INSERT INTO ${schema}.${table} (ts, room, t) VALUES (?, 'x', ?)`, [
        timeText(Date.now() - days * DAY),
        days,
      ]);
    }
  }
  const left = async (table: string) =>
    (await database.admin(`SELECT t FROM ${schema}.${table} WHERE room = 'x' ORDER BY t`)).map((it) => it.t);
  await sluice.stop();
  await sluice.start();
  const until = (what: number[]) =>
    waitFor(async () => {
      const both = [await left("climate"), await left("attic")];
      return JSON.stringify(both) === JSON.stringify([what, what]);
    }, { what: `only rows of ${what} days` });
  await until([10, 50]);
  await sluice.configure(config("20d"));
  await sluice.kill("SIGHUP");
  await until([10]);
  assert.equal(await count(database, `${schema}.climate`), 2);
}

async function stoppedInTheMiddle(start: StartDatabase): Promise<void> {
  await using broker = await startMosquitto();
  await using database = await start();
  const schema = await database.createDatabase();
  await makeTable(database, schema, 60_000);
  const config = {
    ...{ broker: { url: broker.url }, database: { url: database.url(schema) } },
    routes: [route({ retention: "30d" })],
  };
  await using sluice = await Sluice.start({ config });
  await waitFor(async () => await count(database, `${schema}.climate`) < 59_000, { what: "a sweep" });
  const ending = sluice.stop();
  const deadline = Promise.withResolvers<string>();
  const timer = setTimeout(() => deadline.resolve("still there after ten seconds"), 10_000);
  assert.equal(await Promise.race([ending, deadline.promise]), 0, sluice.output);
  clearTimeout(timer);
  const left = await count(database, `${schema}.climate`);
  assert.ok(left > 1, "it was in the middle of it");
  await sluice.start();
  await waitFor(async () => await count(database, `${schema}.climate`) === 1, {
    what: "the rest to go",
    timeoutMs: 60_000,
  });
}

/** How many hours with new rows the spool remembers. */
function hoursInSpool(path: string): number {
  using db = new DatabaseSync(path, { readOnly: true });
  const row = db.prepare("SELECT value FROM memory WHERE key LIKE 'hours%'").get();
  return row ? String(row.value).split(" ").length : 0;
}

async function lateRows(start: StartDatabase): Promise<void> {
  await using broker = await startMosquitto();
  await using database = await start();
  const schema = await database.createDatabase();
  const columns = {
    at: { value: "$.at", time: "epoch_ms" },
    room: "{room}",
    t: { value: "$.t", type: "double" },
  };
  const config = {
    ...{ broker: { url: broker.url }, database: { url: database.url(schema) } },
    routes: [route({ columns, hourly: true })],
  };
  await using sluice = await Sluice.start({ config });
  await using publisher = await openPublisher(broker.url, { qos: 1 });
  await sluice.until("the broker to be connected", (it) => it.broker.connected);
  let sent = 0;
  // The middle of an hour, so that none ends in between.
  const base = (Math.floor(Date.now() / 3_600_000) + 0.5) * 3_600_000;
  const say = async (hoursAgo: number, t: number) => {
    const at = base - hoursAgo * 3_600_000;
    await publisher.publish("Home/attic/climate", JSON.stringify({ at, t }));
    sent++;
    await sluice.until("it to be stored", ({ totals }) => totals.stored === sent);
  };
  const sums = async () => {
    if ((await database.admin(`SHOW TABLES FROM ${schema} LIKE 'climate_hourly'`)).length === 0) return "";
    const rows = await database.admin(
      `SELECT t_min, t_max, t_count FROM ${schema}.climate_hourly ORDER BY hour`,
    );
    return rows.map((it) => `${it.t_min} ${it.t_max} ${it.t_count}`).join(", ");
  };
  /** Killed when the batches are on disk as done, before it looks at the hours; the next one does at its start. */
  const next = async (late: number, expected: string) => {
    await waitFor(() => hoursInSpool(`${sluice.dir}/spool.db`) === late, {
      what: `${late} hours in the spool`,
    });
    await sluice.kill();
    await sluice.start();
    await waitFor(async () => await sums() === expected, { what: `the hours to say ${expected}` });
  };
  for (const [hoursAgo, t] of [[50, 1], [50, 3], [10, 5]]) await say(hoursAgo, t);
  await next(2, "1 3 2, 5 5 1");
  // The devices bring what they kept while the hours after it are summed up already.
  for (const [hoursAgo, t] of [[50, 7], [30, 9], [200, 0]]) await say(hoursAgo, t);
  await next(3, "0 0 1, 1 7 3, 9 9 1, 5 5 1");
}

eachDatabase((flavour, start) => {
  testWith(
    ["mosquitto", flavour],
    `rows that come days late end up in their hours in ${flavour}, also over kill -9`,
    () => lateRows(start),
  );
  testWith(
    ["mosquitto", flavour],
    `old rows of ${flavour} go and hours are summed up beside the lanes, on the only connection that there is`,
    () => besideTheLanes(start),
  );
  testWith(
    ["mosquitto", flavour],
    `a table that the gateway makes in ${flavour} loses whole partitions, a new retention holds after SIGHUP`,
    () => wholePartitions(start),
  );
  testWith(
    ["mosquitto", flavour],
    `SIGTERM in the middle of a sweep of ${flavour} ends the gateway at once; the next one goes on`,
    () => stoppedInTheMiddle(start),
  );
});

testWith(
  ["mosquitto"],
  "as many tables as there may be are made of a placeholder, also over restarts; one more is told and is a dead letter",
  async () => {
    await using broker = await startMosquitto();
    const config = {
      ...{ broker: { url: broker.url }, database: { url: "sqlite:home.db" } },
      routes: [route({ table: "t_{room}" })],
    };
    await using sluice = await Sluice.start({ config });
    const connected = () => sluice.until("the broker to be connected", (it) => it.broker.connected);
    await connected();
    await using publisher = await openPublisher(broker.url, { qos: 1 });
    let sent = 0;
    const say = async (rooms: number[]) => {
      await Promise.all(rooms.map((it) => publisher.publish(`Home/${it}/climate`, '{"t":1}')));
      sent += rooms.length;
      return await sluice.until("all to be done", ({ totals }) => totals.stored + totals.dead === sent);
    };
    await say(Array.from({ length: 256 }, (_, i) => i));
    assert.doesNotMatch(sluice.output, /which is the limit/);
    const full = await say([300, 301, 7, 300]);
    assert.deepEqual([full.totals.stored, full.totals.dead], [257, 3]);
    const told = () => sluice.output.match(/"message":"[^"]*\\"t_\{room\}\\" has made 256 tables/g)?.length;
    assert.equal(told(), 1, sluice.output);
    assert.match((full as unknown as { sentence: string }).sentence, /"t_\{room\}" has made 256 tables/);
    await sluice.kill();
    await sluice.start();
    await connected();
    const after = await say([301, 302, 7, 255]);
    assert.deepEqual([after.totals.stored, after.totals.dead], [259, 5]);
    checkSums(after);
    assert.equal(told(), 2);
    using db = new DatabaseSync(`${sluice.dir}/home.db`, { readOnly: true });
    const tables = db.prepare(
      "SELECT count(*) AS n FROM sqlite_schema WHERE type = 'table' AND name LIKE 't\\_%' ESCAPE '\\'",
    ).get();
    assert.equal(tables!.n, 256);
  },
);

testWith(["mosquitto"], "the embedded database is looked after as the others are", async () => {
  await using broker = await startMosquitto();
  const config = {
    ...{ broker: { url: broker.url }, database: { url: "sqlite:home.db" } },
    routes: [route({ retention: "30d", hourly: true })],
  };
  await using sluice = await Sluice.start({ config });
  await using publisher = await openPublisher(broker.url, { qos: 1 });
  await sluice.until("the broker to be connected", (it) => it.broker.connected);
  await publisher.publish("Home/attic/climate", '{"t":1}');
  await sluice.until("it to be stored", ({ totals }) => totals.stored === 1);
  await sluice.stop();
  using db = new DatabaseSync(`${sluice.dir}/home.db`, { timeout: 10_000 });
  const insert = db.prepare("INSERT INTO climate (ts, room, t) VALUES (?, ?, ?)");
  for (let n = 0; n < 1_200; n++) insert.run(timeText(Date.now() - 31 * DAY - n * 1_000), "old", n);
  insert.run(timeText(Date.now() - DAY), "new", 5);
  await sluice.start();
  const one = (sql: string) => Number(Object.values(db.prepare(sql).get()!)[0]);
  await waitFor(() => one("SELECT count(*) FROM climate") === 2, { what: "the old rows to go" });
  assert.equal(one("SELECT SUM(t_count) FROM climate_hourly"), 1_201);
});
