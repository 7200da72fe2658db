/**
 * Tables are changed under a running gateway: dropped, renamed, their columns renamed, added, made NOT NULL. Row 41 of
 * the fault catalogue. The lane of such a table stalls, or mends it where that is allowed; the others go on.
 */
import assert from "node:assert/strict";
import type { Flavour } from "../servers/database.ts";
import { eachDatabase, testWith } from "../servers/needs.ts";
import { sharedDatabases } from "../servers/shared_databases.ts";
import { Stage } from "./stage.ts";

const shared = sharedDatabases();

interface Change {
  readonly what: string;
  /** On table `a`. */
  readonly change: readonly string[];
  /** What the lane's reason says. */
  readonly reason: RegExp;
  readonly mend: readonly string[];
}

const CHANGES: readonly Change[] = [
  {
    what: "dropped (and put back)",
    change: ["RENAME TABLE t.a TO t.a_away"],
    reason: /a' doesn't exist \(error 1146\)/,
    mend: ["RENAME TABLE t.a_away TO t.a"],
  },
  {
    what: "with a column renamed",
    change: ["ALTER TABLE t.a CHANGE note remark varchar(4)"],
    reason: /Unknown column 'note'.*\(error 1054\)/,
    mend: ["ALTER TABLE t.a CHANGE remark note varchar(4)"],
  },
  {
    what: "with a new column that is NOT NULL",
    change: [
      "ALTER TABLE t.a ADD COLUMN must int NOT NULL",
      "ALTER TABLE t.a ALTER COLUMN must DROP DEFAULT",
    ],
    reason: /Field 'must' doesn't have a default value \(error 1364\)/,
    mend: ["ALTER TABLE t.a ALTER COLUMN must SET DEFAULT 1"],
  },
  {
    what: "replaced by a view that cannot be written",
    change: [
      "RENAME TABLE t.a TO t.a_away",
      "CREATE VIEW t.a AS SELECT no, count(*) AS id FROM t.a_away GROUP BY no",
    ],
    // Between the two statements there is no table at all.
    reason: /\(error (1054|1146|1288|1348|1471)\)/,
    mend: ["DROP VIEW t.a", "RENAME TABLE t.a_away TO t.a"],
  },
];

/** One after the other, under load, with not one restart. */
async function changed(flavour: Flavour): Promise<void> {
  await using stage = await Stage.start({
    flavour,
    server: shared[flavour],
    config: { createTables: false },
  });
  stage.stream();
  for (const { what, change, reason, mend } of CHANGES) {
    await stage.flowing();
    for (const sql of change) await stage.admin(sql);
    assert.match(await stage.stalled("a"), reason, what);
    const { lanes, totals } = await stage.sluice.status();
    assert.equal(totals.dead, 0, what);
    await stage.sluice.until("the other lane to go on", (it) => it.totals.stored >= totals.stored + 50);
    assert.equal(lanes.b.state, "ok", what);
    for (const sql of mend) await stage.admin(sql);
    await stage.sluice.until(`the lane to go on: ${what}`, (it) => it.lanes.a.state === "ok");
  }
  const { verdict } = await stage.settle();
  assert.equal(verdict.dead, 0);
  for (const line of ["table a in ", "over after"]) {
    const told = stage.sluice.output.split("\n").filter((it) => it.includes(line)).length;
    assert.ok(told >= CHANGES.length && told <= 3 * CHANGES.length, `${told} lines say "${line}"`);
  }
}

/** With `createTables` a table that is gone is made again, under load. */
async function created(flavour: Flavour): Promise<void> {
  await using stage = await Stage.start({ flavour, server: shared[flavour] });
  stage.stream();
  await stage.flowing();
  await stage.admin("RENAME TABLE t.a TO t.a_away");
  await stage.flowing();
  await stage.admin("RENAME TABLE t.sluice_ledger TO t.ledger_away, t.b TO t.b_away");
  await stage.admin("RENAME TABLE t.ledger_away TO t.sluice_ledger");
  await stage.flowing();
  const { verdict } = await stage.settle({ tables: [...stage.tables, "a_away", "b_away"] });
  assert.equal(verdict.dead, 0);
  assert.ok((await stage.admin("SELECT id FROM t.a")).length > 0);
}

/** With `addColumns` a column that is not there is added, whatever types there are. */
async function added(flavour: Flavour): Promise<void> {
  await using stage = await Stage.start({
    flavour,
    server: shared[flavour],
    columns: { note: "$.note", level: "$.level", text: { value: "$.text", type: "varchar(20)" } },
    config: { addColumns: true },
  });
  const messages = stage.good("a", 50).map((it, i) => ({ ...it, level: i / 2, text: `text ${i}` }));
  await stage.publish("a", messages);
  await stage.sluice.until("them to be stored", (it) => it.totals.stored === 50);
  const rows = await stage.admin("SELECT level, text FROM t.a ORDER BY no");
  assert.deepEqual(rows.map(({ level, text }) => [level, text]), messages.map((it) => [it.level, it.text]));
  stage.stream();
  await stage.flowing();
  await stage.admin("ALTER TABLE t.a DROP COLUMN level");
  await stage.flowing();
  await stage.admin("ALTER TABLE t.a CHANGE note remark varchar(4)");
  await stage.flowing();
  const { verdict } = await stage.settle();
  assert.equal(verdict.dead, 0);
}

eachDatabase((flavour) => {
  const needs = ["mosquitto", flavour] as const;
  testWith(
    needs,
    `41: a table of ${flavour} that does not fit any more holds up its own lane until it does`,
    () => changed(flavour),
  );
  testWith(
    needs,
    `41: a table that is gone from ${flavour} is made again where that is allowed`,
    () => created(flavour),
  );
  testWith(
    needs,
    `41: a column that is missing in ${flavour} is added where that is allowed`,
    () => added(flavour),
  );
});
