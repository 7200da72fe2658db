/**
 * What a session of ours is on real servers: whether a transaction is open, what a reset leaves, texts of every
 * character, and what is refused.
 */
import assert from "node:assert/strict";
import { connectMysql, type MysqlConnection } from "../../src/mysql/connect.ts";
import { Pool } from "../../src/pool/mod.ts";
import type { Database } from "../servers/database.ts";
import { eachDatabase, testWith } from "../servers/needs.ts";

function connect(database: Database, signal?: AbortSignal): Promise<MysqlConnection> {
  const { port } = database;
  return connectMysql({
    host: "127.0.0.1",
    port,
    user: "sluice",
    database: "home",
    password: "secret",
    signal,
  });
}

/** Statements, one after another, and whether the server says after the last that a transaction is open. */
const TRANSACTIONS: readonly (readonly [statements: string, open: boolean])[] = [
  ["SELECT 1", false],
  ["INSERT INTO t VALUES (1)", false],
  ["BEGIN", true],
  ["START TRANSACTION WITH CONSISTENT SNAPSHOT", true],
  ["BEGIN; INSERT INTO t VALUES (2); SELECT * FROM t", true],
  ["BEGIN; COMMIT", false],
  ["BEGIN; ROLLBACK", false],
  ["BEGIN; COMMIT AND CHAIN", true],
  ["BEGIN; CREATE TABLE IF NOT EXISTS u (n int)", false],
  ["BEGIN; INSERT INTO missing VALUES (1)", true],
  ["SET autocommit = 0; INSERT INTO t VALUES (3)", true],
  ["SET autocommit = 0; SELECT * FROM t FOR UPDATE", true],
  ["SET autocommit = 0; INSERT INTO t VALUES (4); SET autocommit = 1", false],
  ["CALL begins()", true],
  ["CALL begins_and_shows()", true],
];

eachDatabase((flavour, start) => {
  testWith(
    [flavour],
    `whether a transaction is open is what ${flavour} says, whichever statement opened it`,
    async (t) => {
      await using database = await start();
      await database.admin("CREATE TABLE home.t (n int)");
      await database.admin("INSERT INTO home.t VALUES (0)");
      await database.admin("CREATE PROCEDURE home.begins() START TRANSACTION");
      await database.admin(
        "CREATE PROCEDURE home.begins_and_shows() BEGIN START TRANSACTION; SELECT * FROM t; END",
      );
      for (const [statements, open] of TRANSACTIONS) {
        await t.step(statements, async () => {
          const connection = await connect(database);
          for (const sql of statements.split("; ")) await connection.query(sql).catch(() => {});
          assert.equal(connection.inTransaction, open);
          await connection.ping();
          assert.equal(connection.inTransaction, open, "and a ping says the same");
          await connection.rollback();
          assert.equal(connection.inTransaction, false);
          await connection.close();
        });
      }
      await t.step("prepared statements say so too", async () => {
        const connection = await connect(database);
        await connection.query("SET autocommit = 0");
        await connection.execute("SELECT n FROM t WHERE n = ? FOR UPDATE", [0]);
        assert.equal(connection.inTransaction, true);
        await connection.commit();
        await connection.execute("INSERT INTO t VALUES (?)", [9]);
        assert.equal(connection.inTransaction, true);
        await connection.query("SET autocommit = 1");
        assert.equal(connection.inTransaction, false);
        await connection.close();
      });
      await t.step("17: a transaction left open is rolled back on return, and holds no lock", async () => {
        await using pool = new Pool({ connect: ({ signal }) => connect(database, signal) });
        await pool.use(async (connection) => {
          await connection.query("CALL begins()");
          await connection.query("UPDATE t SET n = 100");
        });
        await using lease = await pool.acquire();
        await lease.connection.query("UPDATE t SET n = n + 1");
        const rows = await lease.connection.query("SELECT max(n) AS n FROM t");
        assert.ok(rows[0].n < 100);
      });
    },
  );
});

eachDatabase((flavour, start) => {
  testWith(
    [flavour],
    `17: after a full reset on ${flavour} nothing of the last user is left, and the session is ours again`,
    async () => {
      await using database = await start();
      await using pool = new Pool({
        connect: ({ signal }) => connect(database, signal),
        size: 1,
        maxOverflow: 0,
        resetOnReturn: "full",
        prePing: false,
      });
      const modes = "SELECT @@sql_mode AS mode, @@time_zone AS zone, @@autocommit AS auto, @mine AS mine";
      const [before] = await pool.use((connection) => connection.query(modes));
      await pool.use(async (connection) => {
        await connection.query("SET sql_mode = '', time_zone = '+05:00', autocommit = 0, @mine = 1");
        await connection.query("CREATE TEMPORARY TABLE scratch (n int)");
        await connection.execute("INSERT INTO scratch VALUES (?)", [1]);
      });
      await using lease = await pool.acquire();
      const { connection } = lease;
      assert.deepEqual((await connection.query(modes))[0], before);
      await assert.rejects(connection.query("SELECT * FROM scratch"), { errno: 1146 });
      assert.deepEqual(
        await connection.execute("SELECT ? AS n", [1]),
        [{ n: 1 }],
        "statements are prepared anew",
      );
      assert.equal(pool.stats.totals.opened, 1);
    },
  );
});

eachDatabase((flavour, start) => {
  testWith(
    [flavour],
    `texts of four-byte characters come back from ${flavour} as they went, and statements come one by one`,
    async (t) => {
      await using database = await start({ args: ["--local-infile=ON"] });
      await database.admin("CREATE TABLE home.t (s text) CHARACTER SET utf8mb4");
      const connection = await connect(database);
      await t.step("texts", async () => {
        const text = "grüße 東京 🌡️ 𝔰𝔩𝔲𝔦𝔠𝔢 \u{10ffff}";
        await connection.execute("INSERT INTO t VALUES (?)", [text]);
        await connection.query(`INSERT INTO t VALUES ('${text}')`);
        const rows = await connection.query("SELECT s, hex(s) AS hex FROM t");
        const hex = new TextEncoder().encode(text).toHex().toUpperCase();
        assert.deepEqual(rows, [{ s: text, hex }, { s: text, hex }]);
      });
      await t.step("two statements in one are refused", async () => {
        await assert.rejects(connection.query("SELECT 1; DROP TABLE t"), { errno: 1064 });
      });
      await t.step("no file of ours is given away, though the server would take it", async () => {
        const file = await Deno.makeTempFile();
        await Deno.writeTextFile(file, "secret\n");
        await connection.query("DELETE FROM t");
        const load = `LOAD DATA LOCAL INFILE '${file}' INTO TABLE t`;
        await assert.rejects(connection.query(load), { errno: flavour === "mysql" ? 3948 : 4166 });
        assert.deepEqual(await database.admin("SELECT * FROM home.t"), []);
        await Deno.remove(file);
      });
      await connection.close();
    },
  );
});
