/**
 * The pool on real servers: what they do to connections by themselves and when they are made to. The numbers are those
 * of the list of what an ideal pool does.
 */
import assert from "node:assert/strict";
import { poolClass } from "../../src/mysql/classify.ts";
import { connectMysql, type MysqlConnection, type MysqlSettings } from "../../src/mysql/connect.ts";
import {
  ConnectError,
  ConnectionLostError,
  Pool,
  type PoolOptions,
  PoolTimeoutError,
} from "../../src/pool/mod.ts";
import type { Database } from "../servers/database.ts";
import { eachDatabase, START, testWith } from "../servers/needs.ts";
import { waitFor } from "../servers/wait_for.ts";
import { failure, fill } from "./wire.ts";

type Options =
  & Partial<PoolOptions<MysqlConnection>>
  & Partial<Pick<MysqlSettings, "commandTimeoutMs" | "password">>;

function poolOn(
  { port }: Database,
  { commandTimeoutMs, password = "secret", ...options }: Options = {},
): Pool<MysqlConnection> {
  return new Pool({
    connect: ({ signal }) =>
      connectMysql({
        host: "127.0.0.1",
        port,
        user: "sluice",
        database: "home",
        password,
        commandTimeoutMs,
        signal,
      }),
    classify: poolClass,
    ...options,
  });
}

/** Waits until the server has as many sessions of ours as the pool has connections. */
async function counted(database: Database, pool: Pool<MysqlConnection>): Promise<void> {
  await waitFor(async () => {
    const [{ n }] = await database.admin(
      "SELECT count(*) AS n FROM information_schema.processlist WHERE user = 'sluice'",
    );
    const { idle, leased, connecting, closing } = pool.stats;
    return Number(n) === idle + leased + connecting + closing;
  }, { what: "the server and the pool to agree" });
}

/** Counted by the server since its start: pings and log-outs as administration, the rest as questions. */
async function commands(database: Database): Promise<number> {
  const rows = await database.admin(
    "SHOW GLOBAL STATUS WHERE Variable_name IN ('Questions', 'Com_admin_commands')",
  );
  return rows.reduce((sum, row) => sum + Number(row.Value), 0);
}

type Step = (database: Database) => Promise<void>;

/** On one server, one after another; each leaves the server as it was. */
const STEPS: Readonly<Record<string, Step>> = {
  "4: an idle connection that is killed from another session is out at once, and nothing is sent for that":
    async (
      database,
    ) => {
      await using pool = poolOn(database, { size: 3 });
      await fill(pool, 3);
      const [{ id }] = pool.connections;
      const before = await commands(database);
      await database.admin(`KILL ${id}`);
      await waitFor(() => pool.stats.idle === 2, { what: "the pool to notice" });
      assert.deepEqual([pool.stats.totals.closed.dead, pool.stats.generation], [1, 0]);
      // The KILL, the second look at the counter, and the log-outs of both sessions of ours.
      assert.ok(await commands(database) - before <= 4, "something was sent");
      await counted(database, pool);
    },

  "19, 20: a connection that is killed under a statement is lost with it, and with nothing else": async (
    database,
  ) => {
    await using pool = poolOn(database, { size: 2 });
    await fill(pool, 2);
    const lease = await pool.acquire();
    const { id } = lease.connection;
    const lost = failure<Error>(lease.connection.query("SELECT sleep(20)"));
    await waitFor(
      async () =>
        (await database.admin(
          `SELECT 1 FROM information_schema.processlist WHERE id = ${id} AND info LIKE '%sleep%'`,
        ))
          .length,
      { what: "the statement to run" },
    );
    await database.admin(`KILL ${id}`);
    const error = await lost;
    // MySQL and MariaDB may say "interrupted" before they close.
    assert.ok(
      error instanceof ConnectionLostError ? error.sent : (error as { errno?: number }).errno === 1317,
    );
    await lease.connection.closed;
    await lease.release();
    assert.deepEqual([pool.stats.idle, pool.stats.generation], [1, 0]);
    await fill(pool, 2);
    await counted(database, pool);
  },

  "4, 14: wait_timeout ends a connection in somebody's hands, which is known before anything is sent; idle ones go before":
    async (
      database,
    ) => {
      await database.admin("SET GLOBAL wait_timeout = 2");
      await using pool = poolOn(database, { size: 2, prePing: false, recycle: -1 });
      const [held, idle] = [await pool.acquire(), await pool.acquire()];
      await idle.release();
      await waitFor(() => pool.stats.totals.closed.idle === 1, { what: "the pool to close the idle one" });
      assert.equal(pool.stats.totals.closed.dead, 0, "before the server did");
      await held.connection.closed;
      const error = await failure<ConnectionLostError>(held.connection.query("SELECT 1"));
      assert.deepEqual([error instanceof ConnectionLostError, error.sent], [true, false]);
      await held.release();
      assert.deepEqual(await pool.use((connection) => connection.query("SELECT 1")), [{ 1: 1 }]);
      await database.admin("SET GLOBAL wait_timeout = 28800");
    },

  "20: a server without room for more makes those wait who can be served by others' returning": async (
    database,
  ) => {
    const [{ before }] = await database.admin("SELECT @@max_connections AS `before`");
    await database.admin("SET GLOBAL max_connections = 10");
    await using pool = poolOn(database, { size: 30, maxOverflow: 0, maxConnecting: 30, timeout: 60 });
    const first = await pool.acquire();
    const all = Array.from(
      { length: 30 },
      () => pool.use((connection) => connection.query("SELECT sleep(0.05)")),
    );
    await waitFor(() => pool.stats.totals.connectFailed > 0, { what: "the server to refuse one" });
    await first.release();
    await Promise.all(all);
    assert.ok(pool.stats.totals.opened <= 11);
    await database.admin(`SET GLOBAL max_connections = ${before}`);
    await counted(database, pool);
  },

  "6, 20: a server that turns read-only is left by all connections, and taken again when it writes again":
    async (
      database,
    ) => {
      await database.admin("CREATE TABLE home.t (n int)");
      await using pool = poolOn(database, { size: 3 });
      await fill(pool, 3);
      const held = await pool.acquire();
      await database.admin("SET GLOBAL read_only = ON");
      const insert = () => pool.use((connection) => connection.query("INSERT INTO t VALUES (1)"));
      assert.equal((await failure<{ errno: number }>(insert())).errno, 1290);
      assert.deepEqual([pool.stats.idle, pool.stats.leased, pool.stats.generation], [0, 1, 1]);
      await held.release();
      await waitFor(() => pool.stats.closing === 0, { what: "the held one to be closed on return" });
      assert.equal(pool.stats.idle, 0);
      await database.admin("SET GLOBAL read_only = OFF");
      await insert();
      await database.admin("DROP TABLE home.t");
      await counted(database, pool);
    },

  "22: a password is changed under way: who has a connection keeps it, who needs one logs in with the new":
    async (
      database,
    ) => {
      let password = "secret";
      await using pool = poolOn(database, { size: 2, password: () => Promise.resolve(password) });
      await fill(pool, 2);
      const held = await pool.acquire();
      await database.admin("ALTER USER sluice@'%' IDENTIFIED BY 'second'");
      password = "second";
      pool.invalidateAll({ soft: true });
      await held.connection.query("SELECT 1");
      await held.release();
      await fill(pool, 2);
      assert.deepEqual([pool.stats.idle, pool.stats.totals.opened, pool.stats.totals.connectFailed], [
        2,
        4,
        0,
      ]);
      await database.admin("ALTER USER sluice@'%' IDENTIFIED BY 'secret'");
      await counted(database, pool);
    },

  "2, 12: a server that stands still costs an acquire its own limit, and is used again when it goes on":
    async (
      database,
    ) => {
      await using pool = poolOn(database, {
        size: 3,
        timeout: 1,
        connectTimeout: 2,
        prePing: { timeout: 0.2 },
      });
      await fill(pool, 3);
      await database.kill("SIGSTOP");
      const error = await failure<PoolTimeoutError>(pool.acquire());
      assert.ok(error instanceof PoolTimeoutError);
      assert.equal(error.where, "connect", "the ping was given up long before");
      assert.deepEqual([pool.stats.idle, pool.stats.totals.closed.ping], [0, 1]);
      await database.kill("SIGCONT");
      const rows = await waitFor(() => pool.use((connection) => connection.query("SELECT 1")), {
        what: "the pool to be of use again",
      });
      assert.deepEqual(rows, [{ 1: 1 }]);
      await waitFor(() => pool.stats.connecting === 0, { what: "attempts to end" });
      await counted(database, pool);
    },

  "19: a server that stands still under a statement: it is given up, not repeated, and its answer is nobody's":
    async (
      database,
    ) => {
      await database.admin("CREATE TABLE home.t (n int)");
      await using pool = poolOn(database, { size: 1, maxOverflow: 0, timeout: 30, commandTimeoutMs: 500 });
      await fill(pool, 1);
      const lease = await pool.acquire();
      await database.kill("SIGSTOP");
      const error = await failure<ConnectionLostError>(lease.connection.query("INSERT INTO t VALUES (7)"));
      await lease.release();
      assert.deepEqual([error instanceof ConnectionLostError, error.sent, pool.stats.idle], [true, true, 0]);
      await database.kill("SIGCONT");
      assert.deepEqual(await pool.use((connection) => connection.query("SELECT 1")), [{ 1: 1 }]);
      await counted(database, pool);
      const rows = await database.admin("SELECT n FROM home.t");
      assert.ok(rows.length <= 1, "at most once");
      await database.admin("DROP TABLE home.t");
    },

  "4, 6, 11: a server that is restarted: all are out at once, who comes meanwhile is told, then all is well again":
    async (
      database,
    ) => {
      await using pool = poolOn(database, { size: 3, timeout: 30 });
      await fill(pool, 3);
      await database.stop();
      await waitFor(() => pool.stats.idle === 0, { what: "the pool to notice" });
      const error = await failure<ConnectError>(pool.acquire());
      assert.ok(error instanceof ConnectError);
      assert.match(error.message, /^could not connect: .*ECONNREFUSED.*\(size 3, limit 13: 0 idle, 0 leased/);
      await database.restart();
      const rows = await waitFor(() => pool.use((connection) => connection.query("SELECT 1")), {
        what: "the pool to be of use again",
      });
      assert.deepEqual(rows, [{ 1: 1 }]);
      await counted(database, pool);
    },
};

eachDatabase((flavour, start) => {
  testWith([flavour], `the pool on ${flavour} through all that a server does to connections`, async (t) => {
    await using database = await start();
    for (const [name, step] of Object.entries(STEPS)) await t.step(name, () => step(database));
  });
});

testWith(["mariadb"], "21: a program that ends without closing its pool ends all the same", async () => {
  await using database = await START.mariadb({});
  const place = (path: string) => JSON.stringify(new URL(`../../src/${path}`, import.meta.url).href);
  const program = `
    import { Pool } from ${place("pool/mod.ts")};
    import { connectMysql } from ${place("mysql/connect.ts")};
    const pool = new Pool({ keepAlive: 1, connect: ({ signal }) => connectMysql(
      { host: "127.0.0.1", port: ${database.port}, user: "sluice", database: "home", password: "secret", signal }) });
    // Nothing but the answer keeps it alive meanwhile.
    console.log(await pool.use((connection) => connection.query("SELECT sleep(0.2) AS s")), pool.status());`;
  const config = new URL("../../deno.json", import.meta.url).pathname;
  const { code, stdout } = await new Deno.Command("timeout", {
    args: [
      "60",
      Deno.execPath(),
      "run",
      "-A",
      "--no-check",
      "--config",
      config,
      `data:text/typescript,${encodeURIComponent(program)}`,
    ],
  }).output();
  assert.equal(code, 0);
  assert.match(new TextDecoder().decode(stdout), /\{ s: 0 \} \] Pool size: 5 {2}Connections in pool: 1/);
});
