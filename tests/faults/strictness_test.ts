/**
 * Values that a database would store otherwise than it was given, where its session is not strict or strictness does
 * not help. Row 46 of the fault catalogue.
 */
import assert from "node:assert/strict";
import { WrittenTable } from "../mysql/written_table.ts";
import type { Database, Flavour } from "../servers/database.ts";
import { eachDatabase, testWith } from "../servers/needs.ts";
import { startProxy } from "../servers/proxy.ts";
import { sharedDatabases } from "../servers/shared_databases.ts";

const shared = sharedDatabases({ args: ["--sql-mode="] });

const COLUMNS = "id int PRIMARY KEY, small tinyint, short varchar(4), day date, must int NOT NULL";
const WRITES = ["id", "small", "short", "day", "must"];
const GOOD = [7, "fine", "2024-02-29", 1] as const;

/** Adds 200 rows with what a database that is not strict would alter among them; returns the ids of the good ones. */
function addRows(table: WrittenTable): string[] {
  const bad = new Map<number, readonly (string | number | null)[]>([
    [11, [300, "fine", "2024-02-29", 1]],
    [50, [7, "long text", "2024-02-29", 1]],
    [51, [7, "fine", "2024-02-31", 1]],
    [120, [7, "fine", "2024-02-29", null]],
    [200, [7, "fine", "2024-02-29", "12 apples"]],
  ]);
  for (let id = 1; id <= 200; id++) table.add([id, ...bad.get(id) ?? GOOD]);
  return Array.from({ length: 200 }, (_, i) => i + 1).filter((id) => !bad.has(id)).map(String);
}

async function assertStoredExactly(table: WrittenTable, good: readonly string[]): Promise<void> {
  assert.deepEqual(table.parked.map((it) => it.sequence), [11, 50, 51, 120, 200]);
  const rows = await table.admin("SELECT * FROM here.t");
  assert.deepEqual(rows.map(({ id }) => String(id)), good);
  for (const { small, short, day, must } of rows) assert.deepEqual([small, short, day, must], GOOD);
}

/** One test for each flavour. */
function test(title: (flavour: Flavour) => string, fn: (database: Database) => Promise<void>): void {
  eachDatabase((flavour) => testWith([flavour], `46: ${title(flavour)}`, () => fn(shared[flavour])));
}

test((flavour) => `${flavour} that is not strict by itself alters nothing of ours`, async (database) => {
  const [{ mode }] = await database.admin("SELECT @@global.sql_mode AS mode");
  assert.equal(mode, "");
  await using table = await WrittenTable.make(database, { columns: COLUMNS, writes: WRITES });
  const good = addRows(table);
  await table.write();
  await assertStoredExactly(table, good);
});

test(
  (flavour) => `nor in a table of ${flavour} without transactions, and its good rows are there once`,
  async (database) => {
    await using table = await WrittenTable.make(database, {
      columns: COLUMNS,
      writes: WRITES,
      engine: "MyISAM",
    });
    const good = addRows(table);
    await table.write();
    await assertStoredExactly(table, good);
  },
);

test(
  (flavour) => `nor where a view of ${flavour} hides that, though a row may be there twice`,
  async (database) => {
    await using table = await WrittenTable.make(database, {
      columns: COLUMNS.replace(" PRIMARY KEY", ""),
      writes: WRITES,
      engine: "MyISAM",
      sql: ["RENAME TABLE here.t TO here.hidden", "CREATE VIEW here.t AS SELECT * FROM here.hidden"],
    });
    const good = addRows(table);
    await table.write();
    const rows = await table.admin("SELECT DISTINCT * FROM here.t ORDER BY id");
    assert.deepEqual(rows.map(({ id }) => String(id)), good);
    for (const { small, short, day, must } of rows) assert.deepEqual([small, short, day, must], GOOD);
  },
);

test(
  (flavour) => `where a proxy before ${flavour} keeps our sql_mode to itself, its warnings tell`,
  async (database) => {
    await using proxy = await startProxy({ target: database.port, log: false });
    const [ours, theirs] = ["SESSION sql_mode", "        @ql_mode"].map((it) => new TextEncoder().encode(it));
    let met = 0;
    proxy.onData = (_direction, chunk) => {
      const at = indexOf(chunk, ours);
      if (at >= 0) met++, chunk.set(theirs, at);
      return "pass";
    };
    await using table = await WrittenTable.make(database, {
      columns: COLUMNS,
      writes: WRITES,
      sink: { port: proxy.port },
    });
    const good = addRows(table);
    await table.write();
    assert.ok(met > 0, "the statement that makes the session strict was not met");
    await assertStoredExactly(table, good);
  },
);

test(
  (flavour) => `spaces at the end of a text that ${flavour} would cut off make a dead letter`,
  async (database) => {
    await using table = await WrittenTable.make(database, {
      columns: "id int PRIMARY KEY, v varchar(4), d decimal(4,1)",
      writes: ["id", "v", "d"],
    });
    // More than a hundred numbers are rounded, with a note each: more than the server tells.
    for (let id = 1; id <= 150; id++) {
      table.add([id, id === 140 ? "four  " : id === 141 ? "abc " : "four", "1.23"]);
    }
    await table.write();
    assert.deepEqual(table.parked.map((it) => [it.sequence, it.errno]), [[140, 1265]]);
    assert.equal((await table.stored()).length, 149);
    assert.deepEqual(await table.admin("SELECT v, d FROM here.t WHERE id = 141"), [{ v: "abc ", d: "1.2" }]);
  },
);

function indexOf(haystack: Uint8Array, needle: Uint8Array): number {
  return new TextDecoder("latin1").decode(haystack).indexOf(new TextDecoder("latin1").decode(needle));
}
