/**
 * Names as real servers take them: whatever is a legal name of a column is quoted so that it is that name, and nothing
 * else happens; whatever is refused beforehand is one that the server refuses, too, or makes another one of.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { connectMysql, type MysqlConnection } from "../../src/mysql/connect.ts";
import { identifierProblem, quote, textSql } from "../../src/mysql/identifier.ts";
import { inspectTable } from "../../src/mysql/inspect.ts";
import { eachDatabase, testWith } from "../servers/needs.ts";

const SPECIAL = [
  "`",
  "``",
  "a`b",
  "'",
  '"',
  "\\",
  "a; DROP TABLE keep; --",
  "`; DROP TABLE keep; -- ",
  "select",
  "1",
  "0x10",
  " lead",
  "trail ",
  "ä ö ü",
  "温度",
  "🍳",
  "%s",
  "_",
  "$",
  "a.b",
  "a/b",
  "\t",
  "\n",
  "x".repeat(64),
  "x".repeat(65),
  "ß".repeat(64),
];

const name = fc.oneof(
  fc.string({ minLength: 1, maxLength: 30, unit: "binary" }),
  fc.string({ minLength: 1, maxLength: 70 }),
);

async function tryName(connection: MysqlConnection, it: string): Promise<void> {
  const isGood = identifierProblem(it) === undefined;
  // In a promise, because what can never be quoted throws at once.
  const made = (async () => {
    await connection.query(`CREATE TABLE named (${quote(it)} INT COMMENT ${textSql(it)})`);
  })();
  const isMade = await made.then(() => true, (error) => {
    assert.ok(!isGood, `${JSON.stringify(it)}: ${error.message}`);
    return false;
  });
  if (!isMade) return;
  const facts = await inspectTable(connection, "named");
  const [column] = facts!.columns;
  assert.equal(facts!.columns.length, 1);
  assert.equal(column.name === it, isGood, `${JSON.stringify(it)} became ${JSON.stringify(column.name)}`);
  if (isGood) {
    await connection.execute(`INSERT INTO named (${quote(it)}) VALUES (?)`, [7]);
    const [row] = await connection.query(`SELECT ${quote(it)} AS it FROM named`);
    assert.equal(row.it, 7);
  }
  await connection.query("DROP TABLE named");
}

eachDatabase((flavour, start) => {
  testWith(
    [flavour],
    `any name of a column is that column in ${flavour}, and nothing else happens`,
    async () => {
      await using server = await start();
      const connection = await connectMysql({
        host: "127.0.0.1",
        port: server.port,
        user: "sluice",
        database: "home",
        password: () => Promise.resolve("secret"),
      });
      try {
        await connection.query("CREATE TABLE keep (a INT)");
        for (const it of SPECIAL) await tryName(connection, it);
        await fc.assert(fc.asyncProperty(name, (it) => tryName(connection, it)), { numRuns: 150 });
        const [{ n }] = await connection.query(
          "SELECT COUNT(*) AS n FROM information_schema.tables WHERE table_schema = 'home'",
        );
        assert.equal(Number(n), 1, "only keep is there");
      } finally {
        connection.destroy();
      }
    },
  );
});
