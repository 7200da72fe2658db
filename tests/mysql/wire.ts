/**
 * The pool over real sockets to a server that does what a test says, and that must count as many of them as the pool does.
 */
import assert from "node:assert/strict";
import { poolClass } from "../../src/mysql/classify.ts";
import { connectMysql, type MysqlConnection } from "../../src/mysql/connect.ts";
import { Pool, type PoolOptions } from "../../src/pool/mod.ts";
import {
  type Answer,
  type FakeMysql,
  type Received,
  startFakeMysql,
  usualAnswer,
} from "../servers/fake_mysql.ts";
import { waitFor } from "../servers/wait_for.ts";

export interface Wire extends AsyncDisposable {
  readonly server: FakeMysql;
  readonly pool: Pool<MysqlConnection>;
  /** Waits until the server counts the sockets that the pool counts. */
  counted(): Promise<void>;
}

export async function openWire(
  options: Partial<PoolOptions<MysqlConnection>> & { commandTimeoutMs?: number } = {},
): Promise<Wire> {
  const { commandTimeoutMs, ...rest } = options;
  const server = await startFakeMysql();
  const pool = new Pool<MysqlConnection>({
    connect: ({ signal }) =>
      connectMysql({
        host: "127.0.0.1",
        port: server.port,
        user: "sluice",
        database: "home",
        password: "secret",
        commandTimeoutMs,
        signal,
      }),
    classify: poolClass,
    ...rest,
  });
  const counted = async () => {
    const both = () => {
      const { idle, leased, connecting, closing } = pool.stats;
      return [server.sockets, idle + leased + connecting + closing];
    };
    await waitFor(() => both()[0] === both()[1], { what: `the server and the pool to agree: ${both()}` });
  };
  return {
    server,
    pool,
    counted,
    async [Symbol.asyncDispose]() {
      await pool.close({ drain: 0 });
      await counted();
      assert.equal(server.sockets, 0, "the pool left a socket");
      await server[Symbol.asyncDispose]();
    },
  };
}

/** Takes `n` connections at once and gives them back. */
export async function fill(pool: Pool<MysqlConnection>, n: number): Promise<void> {
  const leases = await Promise.all(Array.from({ length: n }, () => pool.acquire()));
  for (const lease of leases) await lease.release();
}

export async function failure<T>(promise: Promise<unknown>): Promise<T> {
  try {
    await promise;
  } catch (error) {
    return error as T;
  }
  throw new Error("it did not fail");
}

/** Answers what `asked` picks, and all else as usual. */
export function answering(
  server: FakeMysql,
  asked: (it: Received) => boolean,
  answer: () => Answer | Promise<Answer>,
): void {
  server.onCommand = (received) => asked(received) ? answer() : usualAnswer(received);
}
