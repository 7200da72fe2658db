/**
 * A wall clock that jumps, starts in 1970, or is told in another time zone: rows 56 and 57 of the fault catalogue. It
 * says when a message came, and nothing else depends on it.
 */
import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { cpuSeconds } from "../bench/process.ts";
import { FakeClock } from "../servers/fake_clock.ts";
import { START, testWith } from "../servers/needs.ts";
import { Scene } from "./scene.ts";

const HOUR_SEC = 3_600;
const YEAR_SEC = 365.25 * 24 * HOUR_SEC;
const QUIET_MS = 1_000;

/** Rows of the table in the order in which they were stored. */
function storedIds({ homePath }: Scene): { id: string; ts: string }[] {
  using db = new DatabaseSync(homePath, { readOnly: true });
  return db.prepare("SELECT id, ts FROM t ORDER BY rowid").all() as { id: string; ts: string }[];
}

/** What the process does when there is nothing to do, in seconds of processor time for each second. */
async function idleLoad({ sluice }: Scene): Promise<number> {
  const before = cpuSeconds(sluice.pid);
  await new Promise((resolve) => setTimeout(resolve, QUIET_MS));
  return (cpuSeconds(sluice.pid) - before) / (QUIET_MS / 1_000);
}

async function assertFlows(scene: Scene): Promise<void> {
  const { totals } = await scene.sluice.status();
  await scene.publish(30);
  await scene.sluice.until("them to be stored", (it) => it.totals.stored >= totals.stored + 30);
}

testWith(
  ["mosquitto", "fakeClock"],
  "56: a clock that jumps by an hour and by ten years, forward and back, stalls nothing and changes no order",
  async () => {
    await using clock = await FakeClock.open();
    await using scene = await Scene.start({ env: clock.env, config: { broker: { keepalive: "2s" } } });
    await assertFlows(scene);
    const idle = await idleLoad(scene);
    for (const offsetSec of [HOUR_SEC, -HOUR_SEC, -HOUR_SEC - 1, 10 * YEAR_SEC, -YEAR_SEC, 0]) {
      await clock.set(offsetSec);
      await assertFlows(scene);
      const { ts } = storedIds(scene).at(-1)!;
      const seenSec = (Date.parse(`${ts.replace(" ", "T")}Z`) - Date.now()) / 1_000;
      assert.ok(Math.abs(seenSec - offsetSec) < HOUR_SEC / 2, `${ts} at ${offsetSec} s`);
      const load = await idleLoad(scene);
      assert.ok(load < idle + 0.5, `${load} s of processor time a second at ${offsetSec} s`);
    }
    await scene.settle();
    const ids = storedIds(scene).map((it) => it.id);
    assert.deepEqual(ids, [...scene.accepted.keys()].sort((a, b) => Number(a.slice(1)) - Number(b.slice(1))));
    assert.equal(scene.proxy.accepted, 1);
  },
);

testWith(
  ["mosquitto", "fakeClock"],
  "56: a gateway that boots in 1970 stores, and goes on when the clock is set",
  async () => {
    await using clock = await FakeClock.open();
    await clock.set(-Math.floor(Date.now() / 1_000) + 60);
    await using scene = await Scene.start({ env: clock.env });
    await assertFlows(scene);
    assert.match(storedIds(scene)[0].ts, /^1970-01-01 /);
    await clock.set(0);
    await assertFlows(scene);
    const { ts } = storedIds(scene).at(-1)!;
    assert.equal(ts.slice(0, 10), new Date().toISOString().slice(0, 10));
    await scene.settle();
    // And the spool is opened again although its youngest settled frames seem to be fifty years old.
    await scene.kill();
    await scene.sluice.start();
    await assertFlows(scene);
    await scene.settle();
  },
);

testWith(
  ["mosquitto", "mariadb", "fakeClock"],
  "57: times are UTC in the database, whatever the time zones of gateway and server, also when summer time ends",
  async () => {
    await using clock = await FakeClock.open();
    await using server = await START.mariadb({ args: ["--default-time-zone=+05:30"] });
    const schema = await server.createDatabase();
    await server.admin(
      `CREATE TABLE ${schema}.t (n bigint AUTO_INCREMENT PRIMARY KEY, id varchar(12), ts datetime(3), stamp timestamp(3) NULL)`,
    );
    await using scene = await Scene.start({
      env: { ...clock.env, TZ: "Europe/Berlin" },
      database: { server, url: server.url(schema), schema },
      config: {
        routes: [{
          topic: "Home/#",
          table: "t",
          decode: "json",
          columns: { id: "$.id", ts: "@received", stamp: "@received" },
        }],
      },
    });
    // Around the end of summer time in Berlin: what the clock on the wall shows comes twice.
    const moments = [
      "2026-10-25T00:30:00Z",
      "2026-10-25T00:59:50Z",
      "2026-10-25T01:00:10Z",
      "2026-10-25T01:30:00Z",
    ];
    for (const [i, moment] of moments.entries()) {
      await clock.set(Math.round((Date.parse(moment) - Date.now()) / 1_000));
      await scene.publish(1);
      await scene.sluice.until("it to be stored", (it) => it.totals.stored === i + 1);
    }
    const rows = await server.admin(
      `SELECT CAST(ts AS char) AS ts, CAST(CONVERT_TZ(stamp, @@session.time_zone, '+00:00') AS char) AS stamp
       FROM ${schema}.t ORDER BY n`,
    );
    assert.equal(rows.length, moments.length);
    for (const [i, moment] of moments.entries()) {
      for (const column of ["ts", "stamp"]) {
        const seen = Date.parse(`${String(rows[i][column]).replace(" ", "T")}Z`);
        assert.ok(
          Math.abs(seen - Date.parse(moment)) < 10_000,
          `${column} is ${rows[i][column]}, not ${moment}`,
        );
      }
    }
  },
);
