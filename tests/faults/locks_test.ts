/**
 * Others hold what a lane needs: rows, tables, the ledger's row, the whole server; or want it in the other order. Row 38
 * of the fault catalogue. What a lock costs is the wait for it, so both flavours are tried at the same time.
 */
import assert from "node:assert/strict";
import type { Flavour } from "../servers/database.ts";
import { databases, testWith, withAllDatabases } from "../servers/needs.ts";
import { waitFor } from "../servers/wait_for.ts";
import { Stage } from "./stage.ts";

const COLUMNS = "note varchar(4)";

/** ER_LOCK_WAIT_TIMEOUT */
const TIMED_OUT = /Lock wait timeout.*\(error 1205\)/i;

/** The lane's row in the ledger, by its whole key: by a part of it all rows would be locked. */
async function rowOf(stage: Stage, lane: string): Promise<string> {
  const [{ spool }] = await stage.admin(`SELECT spool FROM t.sluice_ledger WHERE lane = '${lane}'`);
  return `spool = '${spool}' AND lane = '${lane}'`;
}

async function inserting({ database, schema }: Stage): Promise<boolean> {
  const rows = await database.admin(
    "SELECT id FROM information_schema.processlist WHERE db = ? AND info LIKE 'INSERT INTO `a`%'",
    [schema],
  );
  return rows.length > 0;
}

/** Three tables are locked, each in its own way; the fourth is not. */
async function locked(flavour: Flavour): Promise<void> {
  await using stage = await Stage.start({
    flavour,
    tables: { rows: `${COLUMNS}, UNIQUE (id)`, ledger: COLUMNS, whole: COLUMNS, free: COLUMNS },
  });
  await stage.begin();
  await using rows = await stage.session();
  await rows.query("BEGIN");
  // One key of those to come: the statements before the one that meets it go through.
  await rows.query("INSERT INTO `rows` (id) VALUES ('rows54')");
  await using ledger = await stage.session();
  await ledger.query("BEGIN");
  await ledger.query(`SELECT * FROM sluice_ledger WHERE ${await rowOf(stage, "ledger")} FOR UPDATE`);
  await using whole = await stage.session();
  await whole.query("LOCK TABLES whole READ");
  await stage.send(50);
  const reasons = await Promise.all(["rows", "ledger", "whole"].map((lane) => stage.stalled(lane)));
  for (const reason of reasons) assert.match(reason, TIMED_OUT);
  await stage.send(50, ["free"]);
  const { lanes } = await stage.sluice.until(
    "the free one to go on",
    ({ lanes }) => lanes.free.pending === 0,
  );
  assert.equal(lanes.free.state, "ok");
  assert.deepEqual(["ledger", "whole"].map((lane) => lanes[lane].pending), [50, 50]);
  const there = await stage.admin("SELECT id FROM t.rows");
  assert.equal(there.length + lanes.rows.pending, 55, "half of a batch was left behind");
  await rows.query("ROLLBACK");
  await ledger.query("ROLLBACK");
  await whole.query("UNLOCK TABLES");
  const { verdict } = await stage.settle();
  assert.equal(verdict.dead, 0);
}

/** A backup takes the whole server; statements that are under way wait at their COMMIT. */
async function backup(flavour: Flavour): Promise<void> {
  await using stage = await Stage.start({ flavour });
  stage.stream();
  await stage.flowing();
  await using session = await stage.session();
  await session.query("FLUSH TABLES WITH READ LOCK");
  for (const lane of stage.tables) assert.match(await stage.stalled(lane), TIMED_OUT);
  await session.query("UNLOCK TABLES");
  await stage.flowing();
  const { verdict } = await stage.settle();
  assert.equal(verdict.dead, 0);
}

/** Somebody heavy wants what a lane has and has what it wants, again and again. The lighter one is the victim. */
async function deadlocks(flavour: Flavour): Promise<void> {
  await using stage = await Stage.start({ flavour });
  const deadlocks = async () => {
    const [{ n }] = await stage.admin(
      flavour === "mariadb"
        ? "SELECT variable_value AS n FROM information_schema.global_status WHERE variable_name = 'innodb_deadlocks'"
        : "SELECT count AS n FROM information_schema.innodb_metrics WHERE name = 'lock_deadlocks'",
    );
    return Number(n);
  };
  await stage.admin("SET GLOBAL innodb_monitor_enable = 'lock_deadlocks'");
  await stage.admin("CREATE TABLE t.weight (n int)");
  await stage.begin();
  for (let round = 0; round < 5; round++) {
    const before = await deadlocks();
    await using heavy = await stage.session();
    await heavy.query("BEGIN");
    await heavy.query(`INSERT INTO weight VALUES ${Array(1_000).fill("(1)").join()}`);
    await heavy.query("SELECT * FROM a FOR UPDATE");
    await stage.send(30);
    // The lane has its ledger row, and what it inserts must wait for a place in the table.
    await waitFor(() => inserting(stage), { what: "the gateway to insert" });
    await heavy.query(`SELECT * FROM sluice_ledger WHERE ${await rowOf(stage, "a")} FOR UPDATE`);
    await waitFor(async () => await deadlocks() > before, { what: "a deadlock", intervalMs: 100 });
    await heavy.query("ROLLBACK");
    await stage.settle();
  }
  const { verdict } = await stage.settle();
  assert.equal(verdict.dead, 0);
}

const needs = ["mosquitto", ...databases()] as const;
const each = (act: (flavour: Flavour) => Promise<void>) => () => withAllDatabases(act);

testWith(
  needs,
  "38: a lock on rows, table or ledger row stalls its lane, and the others go on",
  each(locked),
);
testWith(needs, "38: a backup that locks the whole server is waited out", each(backup));
testWith(needs, "38: deadlocks store no half of a batch and nothing twice", each(deadlocks));
