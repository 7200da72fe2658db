/**
 * How bad rows are taken out of a batch: at what cost, without harm to their neighbours and to the order, and when it
 * is the table that is to blame.
 */
import assert from "node:assert/strict";
import { StallError } from "../../src/errors.ts";
import type { Database } from "../servers/database.ts";
import { eachDatabase, testWith } from "../servers/needs.ts";
import { sharedDatabases } from "../servers/shared_databases.ts";
import { WrittenTable } from "./written_table.ts";

const shared = sharedDatabases();

/** As many as the spool gives at a time. */
const BATCH = 1_000;
/** Rows of the largest statement of such a batch, halved that many times. */
const HALVINGS = Math.log2(256);

const numbers = (count: number, from = 1) => Array.from({ length: count }, (_, i) => from + i);
const texts = (values: readonly number[]) => values.map(String);

/** INSERTs that `bad` costs in the middle of a batch more than a good row does. */
async function costOf(
  database: Database,
  columns: string,
  good: string,
  bad: string | null,
): Promise<number> {
  const counts: number[] = [];
  for (const value of [good, bad]) {
    await using table = await WrittenTable.make(database, { columns });
    // Its ledger row is made, and its engine looked at.
    table.add([0, good]);
    await table.write();
    for (const id of numbers(BATCH)) table.add([id, id === 567 ? value : good]);
    counts.push(await table.count("insert", () => table.write()));
    const expected = numbers(BATCH).filter((id) => value === good || id !== 567);
    assert.deepEqual(await table.stored(), texts([0, ...expected]));
    assert.deepEqual(table.parked.map((it) => it.sequence), value === good ? [] : [568]);
  }
  return counts[1] - counts[0];
}

/** One test for each flavour. */
function test(title: string, fn: (database: Database) => Promise<void>): void {
  eachDatabase((flavour) => testWith([flavour], `${flavour}: ${title}`, () => fn(shared[flavour])));
}

test("a bad row that the message names costs a few statements", async (database) => {
  const cost = await costOf(database, "id int PRIMARY KEY, v varchar(4)", "ok", "too long");
  // It is tried again alone; and the statements of a batch are of a few sizes.
  assert.ok(cost <= 5, `${cost} statements`);
});

test("a bad row that no message names costs a statement for each halving, and a few", async (database) => {
  const cost = await costOf(database, "id int PRIMARY KEY, v varchar(4) NOT NULL", "ok", null);
  assert.ok(cost <= HALVINGS + 5, `${cost} statements`);
});

test("a row number that belongs to a trigger's own statement accuses nobody", async (database) => {
  await using table = await WrittenTable.make(database, { columns: "id int PRIMARY KEY, v int" });
  await table.admin("CREATE TABLE here.log (v tinyint)");
  await table.admin(
    "CREATE TRIGGER here.into_log AFTER INSERT ON here.t FOR EACH ROW INSERT INTO log VALUES (NEW.v)",
  );
  for (const id of numbers(20)) table.add([id, id % 7 === 0 ? 1_000 : id]);
  await table.write();
  assert.deepEqual(table.parked.map((it) => [it.sequence, it.errno]), [[7, 1264], [14, 1264]]);
  assert.deepEqual(await table.stored(), texts(numbers(20).filter((id) => id % 7 !== 0)));
});

test("the rows of a delivery stand or fall together, wherever a statement ends", async (database) => {
  // Statements take 64, 16, 4 and 1 of the 120 rows: some end within a delivery.
  for (const bad of [[1], [22], [27, 28], [38], [40], [9, 18, 27, 36]]) {
    for (const badRow of [0, 1, 2]) {
      await using table = await WrittenTable.make(database, { columns: "id int, v varchar(4) NOT NULL" });
      for (const delivery of numbers(40)) {
        const value = (i: number) => bad.includes(delivery) && i === badRow ? null : "ok";
        table.add(...[0, 1, 2].map((i) => [delivery, value(i)]));
      }
      const written = await table.write();
      assert.deepEqual(table.parked.map((it) => it.sequence), bad);
      const good = numbers(40).filter((it) => !bad.includes(it));
      assert.deepEqual((await table.stored()).sort(), texts(good.flatMap((it) => [it, it, it])).sort());
      assert.deepEqual(written, { rows: good.length * 3, refused: bad.length });
    }
  }
});

test("with onDuplicateKey update the last good row of a key is the one that stays", async (database) => {
  await using table = await WrittenTable.make(database, {
    columns: "id int PRIMARY KEY, v varchar(4)",
    onDuplicateKey: "update",
  });
  // So many bad ones at the beginning that a witness is asked: the last, whose turn has not come.
  for (const n of numbers(30)) table.add([n % 3, n < 10 || n % 5 === 0 ? "too long" : String(n)]);
  await table.write();
  assert.deepEqual(await table.stored("concat(id, ':', v)"), ["0:27", "1:28", "2:29"]);
});

test("onDuplicateKey ignore leaves the first row and refuses a bad one all the same", async (database) => {
  await using table = await WrittenTable.make(database, {
    columns: "id int PRIMARY KEY, v varchar(4)",
    onDuplicateKey: "ignore",
  });
  for (const n of numbers(30)) table.add([n % 3, n === 17 ? "too long" : String(n)]);
  await table.write();
  assert.deepEqual(await table.stored("concat(id, ':', v)"), ["0:3", "1:1", "2:2"]);
  assert.deepEqual(table.parked.map((it) => [it.sequence, it.errno]), [[17, 1406]]);
});

test("where nothing gets in, at most a handful is given up before the lane stalls", async (database) => {
  await using table = await WrittenTable.make(database, { columns: "id int PRIMARY KEY, v varchar(4)" });
  await table.admin("ALTER TABLE here.t ADD CONSTRAINT none CHECK (id > 100000)");
  for (const id of numbers(BATCH)) table.add([id, "ok"]);
  await assert.rejects(table.write(), StallError);
  assert.deepEqual(table.parked, []);
  await table.admin("ALTER TABLE here.t DROP CONSTRAINT none");
  assert.deepEqual(await table.write(), { rows: BATCH, refused: 0 });
});

test("bad rows that come one by one stall the lane after a handful, until a good one comes", async (database) => {
  await using table = await WrittenTable.make(database, { columns: "id int PRIMARY KEY, v varchar(4)" });
  const bad: number[] = [];
  let stall: unknown;
  while (!stall) {
    bad.push(table.add([bad.length + 1, "too long"]));
    await table.write().catch((error) => stall = error);
  }
  assert.ok(stall instanceof StallError, String(stall));
  assert.equal(stall.errno, 1406);
  assert.match(stall.message, /nothing is taken any more.*too long/i);
  const given = table.parked.length;
  assert.ok(given >= 1 && given <= 5, `${given} were given up`);
  for (let i = 0; i < 200; i++) bad.push(table.add([bad.length + 1, "too long"]));
  await assert.rejects(table.write(), StallError);
  assert.equal(table.parked.length, given);
  table.add([0, "ok"]);
  await table.write();
  assert.deepEqual(table.parked.map((it) => it.sequence), bad);
  assert.deepEqual(await table.stored(), ["0"]);
  // From here on the table is above suspicion again.
  bad.push(table.add([bad.length + 1, "too long"]));
  await table.write();
  assert.equal(table.parked.length, bad.length);
});

test("a number of a trigger's own is a row's fault by its SQLSTATE, without a witness", async (database) => {
  await using table = await WrittenTable.make(database, {
    columns: "id int PRIMARY KEY, v int",
    sql: [
      `CREATE TRIGGER here.no_more BEFORE INSERT ON here.t FOR EACH ROW
         SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 5998, MESSAGE_TEXT = 'no more'`,
    ],
  });
  table.add([1, 1]);
  await table.write();
  assert.deepEqual(table.parked, [{ sequence: 1, errno: 5998, reason: "no more" }]);
});

test("a number that nobody knows is a row's fault only where its neighbours get in", async (database) => {
  await using table = await WrittenTable.make(database, {
    columns: "id int PRIMARY KEY, v int",
    sql: [
      `CREATE TRIGGER here.not_today BEFORE INSERT ON here.t FOR EACH ROW BEGIN IF NEW.v < 0 THEN
         SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 5999, MESSAGE_TEXT = 'not today'; END IF; END`,
    ],
  });
  table.add([1, -1]);
  await assert.rejects(table.write(), (error) => error instanceof StallError && error.errno === 5999);
  assert.deepEqual(table.parked, []);
  table.add([2, 2]);
  await table.write();
  assert.deepEqual(table.parked, [{ sequence: 1, errno: 5999, reason: "not today" }]);
  assert.deepEqual(await table.stored(), ["2"]);
});
