/**
 * The database goes back in time, or somebody puts a hand on the ledger. Rows 47 and 48 of the fault catalogue; 47 with
 * replication is in `failover_test.ts`.
 */
import assert from "node:assert/strict";
import type { Flavour } from "../servers/database.ts";
import { eachDatabase, testWith } from "../servers/needs.ts";
import { run } from "../servers/server_process.ts";
import { sharedDatabases } from "../servers/shared_databases.ts";
import { Stage } from "./stage.ts";

const shared = sharedDatabases();

const LOST = /the database lost what was committed to (a|b) after message \d+: writing it again/;
const ROUNDS_MAX = 10;

/** Commits that the server has not even written to its log: they go with its process. */
async function lastSecond(flavour: Flavour): Promise<void> {
  await using stage = await Stage.start({
    flavour,
    database: { args: ["--innodb-flush-log-at-trx-commit=0"] },
  });
  stage.stream();
  for (let round = 0; round < 2 || !LOST.test(stage.sluice.output); round++) {
    assert.ok(round < ROUNDS_MAX, "the server never lost anything");
    await stage.flowing();
    await stage.database.kill();
    await stage.database.restart();
  }
  await stage.flowing();
  await stage.settle();
}

/** A copy of the data is put back: once under the gateway, once while it is killed. */
async function restored(flavour: Flavour): Promise<void> {
  await using stage = await Stage.start({ flavour, database: {} });
  const { database, sluice } = stage;
  const copy = `${database.dir}/copy`;
  await stage.begin();
  stage.stream();
  for (const killed of [false, true]) {
    await stage.flowing();
    // Killed, it takes no less along than what it has committed, and is back sooner.
    await database.kill();
    await run("rm", ["-rf", copy]);
    await run("cp", ["-a", "--reflink=auto", database.dataDir, copy]);
    await database.restart();
    await stage.flowing(200);
    await database.kill();
    if (killed) await sluice.kill();
    await run("rm", ["-rf", database.dataDir]);
    await run("mv", [copy, database.dataDir]);
    await database.restart();
    if (killed) await sluice.start();
    await stage.flowing(200);
  }
  await stage.settle();
  const told = sluice.output.split("\n").filter((line) => LOST.test(line)).length;
  // Each time at least one of the two lanes had committed something since the copy.
  assert.ok(told >= 2 && told <= 4, sluice.output);
}

/** A hand deletes the ledger's rows, then the ledger; what was stored stays as it is, and it is told. */
async function deleted(flavour: Flavour): Promise<void> {
  await using stage = await Stage.start({
    flavour,
    server: shared[flavour],
    columns: { note: "$.note", ts: "@received" },
    tables: { a: "note varchar(4), ts datetime", b: "note varchar(4), ts datetime(3)" },
  });
  const { sluice } = stage;
  await stage.begin();
  stage.stream();
  for (
    const sql of [
      "DELETE FROM t.sluice_ledger WHERE lane = 'a'",
      "TRUNCATE t.sluice_ledger",
      "DROP TABLE t.sluice_ledger",
    ]
  ) {
    await stage.flowing();
    await stage.admin(sql);
    await stage.flowing();
  }
  await stage.settle();
  const told = sluice.output.split("\n").filter((line) =>
    /the ledger has no row for (a|b), although it was written before/.test(line)
  );
  assert.equal(told.length, 5, sluice.output);
}

/** As if an old copy of the spool had been put back: the ledger says more than this spool ever gave out. */
async function ahead(flavour: Flavour): Promise<void> {
  await using stage = await Stage.start({ flavour, server: shared[flavour] });
  await stage.begin();
  stage.stream();
  await stage.admin("UPDATE t.sluice_ledger SET upto = upto + 1000000 WHERE lane = 'a'");
  await stage.flowing();
  const { verdict } = await stage.settle();
  assert.equal(verdict.dead, 0);
  assert.match(
    stage.sluice.output,
    /the database holds messages of a up to number \d+, more than this spool ever gave out/,
  );
  const [{ n }] = await stage.admin("SELECT count(DISTINCT spool) AS n FROM t.sluice_ledger");
  assert.equal(Number(n), 2);
}

/** The row of another spool is none of our business. */
async function foreign(flavour: Flavour): Promise<void> {
  await using stage = await Stage.start({ flavour, server: shared[flavour] });
  await stage.begin();
  await stage.admin(
    "INSERT INTO t.sluice_ledger (spool, lane, upto) VALUES ('00000000-0000-4000-8000-000000000000', 'a', 9000000)",
  );
  await stage.send(10);
  await stage.settle();
  assert.doesNotMatch(stage.sluice.output, /ledger|more than this spool/);
}

/** A ledger without transactions would say that rows are there which were rolled back. */
async function withoutTransactions(flavour: Flavour): Promise<void> {
  await using stage = await Stage.start({
    flavour,
    server: shared[flavour],
    before: [
      `CREATE TABLE t.sluice_ledger (spool char(36) CHARACTER SET ascii, lane varchar(128), upto bigint unsigned,
       updated_at timestamp NULL, PRIMARY KEY (spool, lane)) ENGINE=MyISAM`,
    ],
  });
  await stage.send(10);
  assert.match(await stage.stalled("a"), /sluice_ledger has no transactions/);
  await stage.admin("ALTER TABLE t.sluice_ledger ENGINE=InnoDB");
  await stage.settle();
}

eachDatabase((flavour) => {
  const needs = ["mosquitto", flavour] as const;
  testWith(needs, `47: what ${flavour} lost of its last second is written again`, () => lastSecond(flavour));
  testWith(
    needs,
    `47: what is not in a copy of ${flavour}'s data that was put back is written again`,
    () => restored(flavour),
  );
  testWith(needs, `48: a ledger of ${flavour} that somebody deleted doubles nothing`, () => deleted(flavour));
  testWith(
    needs,
    `48: a ledger of ${flavour} that is ahead of the spool begins a new one`,
    () => ahead(flavour),
  );
  testWith(needs, `48: the ledger of another spool in ${flavour} does no harm`, () => foreign(flavour));
  testWith(
    needs,
    `48: a ledger of ${flavour} without transactions is not used`,
    () => withoutTransactions(flavour),
  );
});
