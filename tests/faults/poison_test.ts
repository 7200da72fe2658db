/**
 * Rows that are bad for their own sake, one among a hundred, and tables that refuse everything. Rows 43 and 44 of the
 * fault catalogue.
 */
import assert from "node:assert/strict";
import { createConnection } from "mysql2/promise";
import type { Flavour } from "../servers/database.ts";
import { eachDatabase, testWith } from "../servers/needs.ts";
import { sharedDatabases } from "../servers/shared_databases.ts";
import { kindsOf } from "./poison_kinds.ts";
import { columnsSql, type Meant, Stage } from "./stage.ts";

const shared = sharedDatabases();
const COUNT = 100;
/** Deliveries of one lane that are given up for a table that refuses everything. */
const HANDFUL = 5;

/** What the server itself says when it gets the row alone. */
async function refusalsOf(stage: Stage): Promise<Map<string, { errno: number; reason: string }>> {
  const connection = await createConnection({
    socketPath: stage.database.socket,
    user: "root",
    database: stage.schema,
    charset: "utf8mb4",
  });
  await connection.query("SET SESSION sql_mode = 'STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO'");
  const refusals = new Map<string, { errno: number; reason: string }>();
  for (const [table, { bad }] of Object.entries(kindsOf(stage.database.flavour))) {
    const values = ["alone", bad as string | number | null];
    const error = await connection.query(`INSERT INTO \`${table}\` (id, v) VALUES (?, ?)`, values).then(
      () => assert.fail(`${table} takes what it should not`),
      (error) => error as { errno: number; message: string },
    );
    refusals.set(table, { errno: error.errno, reason: error.message });
  }
  await connection.end();
  return refusals;
}

async function poison(flavour: Flavour): Promise<void> {
  const kinds = Object.entries(kindsOf(flavour));
  await using stage = await Stage.start({
    flavour,
    server: shared[flavour],
    before: ["CREATE TABLE t.parent (id int PRIMARY KEY)", "INSERT INTO t.parent VALUES (1)"],
    tables: Object.fromEntries(kinds.map(([table, { columns }]) => [table, columns])),
    columns: { v: "$.v" },
  });
  for (const [table, { sql = [] }] of kinds) {
    for (const statement of sql) await stage.admin(statement.replace(/\bt\.it\b/g, `t.${table}`));
  }
  const refusals = await refusalsOf(stage);
  const sinceMs = Date.now();
  // The bad one comes first, last, or anywhere.
  const places = new Map(kinds.map(([table], i) => [table, i < 2 ? i * (COUNT - 1) : i * 37 % COUNT]));
  await Promise.all(kinds.map(([table, { good, bad }]) =>
    stage.publish(
      table,
      Array.from({ length: COUNT }, (_, i): Meant => {
        const isBad = i === places.get(table);
        return { id: `${table}-${i}`, v: isBad ? bad : good(i), fate: isBad ? "refused" : "row" };
      }),
    )
  ));
  const { verdict } = await stage.settle();
  assert.equal(verdict.dead, kinds.length);
  const letters = new Map(stage.letters().map((it) => [it.lane, it]));
  for (const [table, { bad }] of kinds) {
    const letter = letters.get(table)!;
    const { errno, reason } = letter;
    assert.deepEqual({ errno, reason }, refusals.get(table), table);
    assert.equal(letter.topic, `Home/${table}/data`);
    assert.equal(letter.qos, 2);
    assert.match(letter.route, /Home\/\{table\}\/data/);
    assert.ok(letter.receivedAtMs >= sinceMs - 1_000 && letter.receivedAtMs <= Date.now());
    const payload = JSON.parse(new TextDecoder().decode(letter.payload));
    assert.deepEqual(payload, { id: `${table}-${places.get(table)}`, v: bad });
  }
}

/** Definitions of table `a` under which no row gets in that is sent here, and what makes each fit again. */
const DRIFTS = [
  { columns: "note varchar(1)", mend: "MODIFY note varchar(4)" },
  { columns: "note int", mend: "MODIFY note varchar(4)" },
  { columns: "note varchar(4), CONSTRAINT never CHECK (note = 'no')", mend: "DROP CONSTRAINT never" },
  { columns: "note varchar(4), extra int NOT NULL", mend: "MODIFY extra int NULL" },
  {
    columns: "note varchar(4), UNIQUE KEY one (note)",
    mend: "DROP KEY one",
    before: "INSERT INTO t.a (note) VALUES ('ok')",
  },
];

async function drift(flavour: Flavour): Promise<void> {
  await using stage = await Stage.start({
    flavour,
    server: shared[flavour],
    columns: { note: "$.note", extra: "$.extra" },
    tables: { a: "note varchar(4), extra int", b: "note varchar(4), extra int" },
  });
  stage.stream();
  for (const [i, { columns, mend, before }] of DRIFTS.entries()) {
    await stage.flowing();
    const extra = /extra/.test(columns) ? "" : ", extra int";
    await stage.admin(`CREATE TABLE t.next ${columnsSql(columns + extra)}`);
    if (before) await stage.admin(before.replace("t.a", "t.next"));
    await stage.admin(`RENAME TABLE t.a TO t.a_${i}, t.next TO t.a`);
    const reason = await stage.stalled("a");
    assert.match(reason, /nothing is taken any more: .*\(error \d+\)/);
    const { totals } = await stage.sluice.status();
    await stage.sluice.until("the other lane to go on", (it) => it.totals.stored >= totals.stored + 200);
    const { lanes } = await stage.sluice.until("many to wait", (it) => it.lanes.a.pending > 200);
    assert.equal(lanes.a.state, "stalled");
    await stage.admin(`ALTER TABLE t.a ${mend}`);
    await stage.sluice.until("the lane to go on", (it) => it.lanes.a.state === "ok");
  }
  const tables = [...stage.tables, ...DRIFTS.map((_, i) => `a_${i}`)];
  const { missing, doubled, inBoth, dead, misplaced } = await stage.judged({ tables });
  assert.deepEqual({ missing, doubled, inBoth }, { missing: [], doubled: [], inBoth: [] });
  assert.ok(dead <= HANDFUL * DRIFTS.length, `${dead} dead letters`);
  assert.equal(misplaced.length, dead);
}

/** A sensor that is alone in its table says nonsense, now and then, until it is mended. */
async function loneSensor(flavour: Flavour): Promise<void> {
  await using stage = await Stage.start({ flavour, server: shared[flavour] });
  await stage.begin();
  const bad = (i: number): Meant => ({ id: `bad${i}`, note: "nonsense", fate: "refused" });
  let count = 0;
  while ((await stage.sluice.status()).lanes.a.state !== "stalled") {
    assert.ok(count < 20, "the lane never stalled");
    await stage.publish("a", [bad(count++)]);
    await stage.sluice.until(
      "it to be met",
      ({ totals, lanes }) => totals.dead === count || lanes.a.state === "stalled",
    );
  }
  assert.ok((await stage.sluice.status()).totals.dead <= HANDFUL);
  // More than the lane reads at a time, so that it does not see what comes behind.
  await stage.publish("a", Array.from({ length: 2_200 }, () => bad(count++)));
  await stage.sluice.until("them to wait", ({ lanes }) => lanes.a.pending >= 2_200);
  await stage.send(20);
  const { verdict } = await stage.settle();
  assert.equal(verdict.dead, count);
}

eachDatabase((flavour) => {
  const needs = ["mosquitto", flavour] as const;
  testWith(
    needs,
    `43: of each kind of bad row that ${flavour} knows exactly the bad one is dead, with number and text`,
    () => poison(flavour),
  );
  testWith(
    needs,
    `44: a table of ${flavour} that refuses every row stalls its lane, costs a handful, and goes on when it is mended`,
    () => drift(flavour),
  );
  testWith(
    needs,
    `44: a sensor alone in its table in ${flavour} cannot stall it for ever`,
    () => loneSensor(flavour),
  );
});
