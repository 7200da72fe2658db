/**
 * The article that this program began with, reproduced on real servers: MySQL closes a connection that was idle for
 * `wait_timeout`, the next statement fails, and `pool_recycle`, `pool_pre_ping` and `NullPool` are the cures.
 */
import assert from "node:assert/strict";
import { createConnection } from "mysql2/promise";
import type { Row, Shape } from "../../src/message.ts";
import { type MysqlSinkOptions, openMysqlSink } from "../../src/mysql/sink.ts";
import type { Database } from "../servers/database.ts";
import { eachDatabase, testWith } from "../servers/needs.ts";
import { waitFor } from "../servers/wait_for.ts";

const SHAPE: Shape = {
  table: "readings",
  columns: [{ name: "n", type: "int", role: "value" }],
  onDuplicateKey: "error",
  key: [],
};

const never = new AbortController().signal;

/** Waits until the server has closed every idle connection of user `sluice`. */
async function idleClosed(database: Database): Promise<void> {
  await waitFor(async () => {
    const [{ n }] = await database.admin(
      "SELECT count(*) AS n FROM information_schema.processlist WHERE user = 'sluice'",
    );
    return Number(n) === 0;
  }, { what: "the server to close idle connections", timeoutMs: 30_000 });
}

class Writer implements AsyncDisposable {
  readonly #sink;
  #sequence = 0;

  constructor(database: Database, schema: string, pool: MysqlSinkOptions["pool"]) {
    this.#sink = openMysqlSink({
      host: "127.0.0.1",
      port: database.port,
      user: "sluice",
      database: schema,
      password: () => Promise.resolve("secret"),
      pool,
    });
  }

  /** Writes one row as a lane would, once. */
  async write(): Promise<void> {
    const after = this.#sequence;
    const last = after + 1;
    const rows: Row[] = [{ sequence: last, shape: SHAPE, values: [last] }];
    await this.#sink.write({
      spool: "0f8fad5b-d9cb-469f-a165-70867728950e",
      lane: "readings",
      after,
      last,
      highest: last,
      rows,
      park: () => Promise.reject(new Error("nothing is refused here")),
    }, never);
    this.#sequence = last;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#sink[Symbol.asyncDispose]();
  }
}

const stored = async (database: Database, schema: string) =>
  (await database.admin(`SELECT n FROM ${schema}.readings ORDER BY n`)).map((row) => Number(row.n));

/** The four ways out, and what everybody gets who configures nothing. */
const CURES: Record<string, MysqlSinkOptions["pool"]> = {
  'pool kind "null"': { kind: "null" },
  "recycle below the time-out": { recycle: 1, prePing: false },
  prePing: { recycle: -1, prePing: true },
  "the default configuration": undefined,
};

eachDatabase((flavour, start) => {
  testWith(
    [flavour],
    `a kept connection to ${flavour} that was idle for wait_timeout fails at its next statement`,
    async () => {
      await using database = await start({ args: ["--wait-timeout=2"] });
      const connection = await createConnection({ uri: database.url() });
      connection.on("error", () => {});
      await connection.query("SELECT 1");
      await idleClosed(database);
      await assert.rejects(
        connection.query("SELECT 1"),
        /closed state|lost|disconnected|ECONNRESET|EPIPE|inactivity/i,
      );
      connection.destroy();
    },
  );

  for (const [name, pool] of Object.entries(CURES)) {
    testWith(
      [flavour],
      `with ${name} the next message is written to ${flavour} without an error reaching anyone`,
      async () => {
        await using database = await start({ args: ["--wait-timeout=2"] });
        const schema = await database.createDatabase();
        await using writer = new Writer(database, schema, pool);
        await writer.write();
        await idleClosed(database);
        await writer.write();
        assert.deepEqual(await stored(database, schema), [1, 2]);
      },
    );
  }

  testWith(
    [flavour],
    `when ${flavour} is killed and started again between two messages, the second is written`,
    async () => {
      await using database = await start();
      const schema = await database.createDatabase();
      await using writer = new Writer(database, schema, undefined);
      await writer.write();
      await database.kill();
      await database.restart();
      await writer.write();
      assert.deepEqual(await stored(database, schema), [1, 2]);
    },
  );
});
