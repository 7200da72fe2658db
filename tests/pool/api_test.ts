/**
 * The shape of the pool, as other programs are written against it: the interface of a connection, the options, a lease,
 * what a pool answers and what it throws. The types are half of the test: it must compile as it stands here.
 */
import assert from "node:assert/strict";
import {
  ConnectError,
  ConnectionLostError,
  type ConnectionPool,
  type Lease,
  LeaseReleasedError,
  NullPool,
  Pool,
  PoolClosedError,
  type PoolEvent,
  type PoolOptions,
  type PoolStats,
  PoolTimeoutError,
} from "../../src/pool/mod.ts";
import { ManualClock } from "../mqtt/manual_clock.ts";

/** What a pool needs of a connection, and nothing else; a driver of another program looks like this. */
interface Needed {
  readonly id?: number | string;
  readonly inTransaction: boolean;
  readonly inFlight: number;
  readonly closed: Promise<Error | undefined>;
  ping(): Promise<unknown>;
  rollback(): Promise<unknown>;
  reset(): Promise<unknown>;
  close(): Promise<unknown>;
  destroy(): void;
}

class Driver implements Needed {
  static ids = 0;
  readonly id = ++Driver.ids;
  inTransaction = false;
  inFlight = 0;
  readonly #end = Promise.withResolvers<Error | undefined>();
  readonly closed = this.#end.promise;
  ping = () => Promise.resolve("pong");
  rollback = () => Promise.resolve();
  reset = () => Promise.resolve();
  close = () => Promise.resolve(this.#end.resolve(undefined));
  destroy = () => this.#end.resolve(undefined);
  query = (sql: string) => Promise.resolve([sql]);
}

const signal = new AbortController().signal;

Deno.test("a program that is written as the pool is described compiles, and does what it says", async () => {
  const released: PoolEvent[] = [];
  {
    await using pool = new Pool({
      connect: ({ signal }) => (signal.throwIfAborted(), Promise.resolve(new Driver())),
      size: 5,
      maxOverflow: 10,
      timeout: 30,
      recycle: 3600,
      recycleJitter: 0.1,
      prePing: { idleOver: 0, timeout: 1 },
      keepAlive: 0,
      idle: -1,
      order: "fifo",
      resetOnReturn: "rollback",
      resetTimeout: 5,
      leakWarning: 0,
      clock: new ManualClock(),
      random: Math.random,
    });
    pool.on("release", (event) => released.push(event));
    {
      await using lease: Lease<Driver> & AsyncDisposable = await pool.acquire({ signal, timeout: 2 });
      assert.deepEqual(await lease.connection.query("SELECT 1"), ["SELECT 1"]);
    }
    const rows: string[] = await pool.use((connection) => connection.query("SELECT 2"), { signal });
    assert.deepEqual(rows, ["SELECT 2"]);
    const lease = await pool.acquire();
    lease.invalidate(new Error("mine"), { soft: true });
    await lease.release();
    const detached: Driver = (await pool.acquire()).detach();
    detached.destroy();
    pool.invalidateAll({ soft: true });
    await pool.close({ drain: 5 });
  }
  assert.equal(released.length, 3);
  const [{ type, id, reason, ageMs, idleMs, error }] = released;
  assert.deepEqual([type, typeof id, reason, typeof ageMs, typeof idleMs, error], [
    "release",
    "number",
    undefined,
    "number",
    "number",
    undefined,
  ]);
});

Deno.test("stats have these fields, and status is SQLAlchemy's line", async () => {
  await using pool = new Pool({ connect: () => Promise.resolve(new Driver()) });
  assert.equal(
    pool.status(),
    "Pool size: 5  Connections in pool: 0 Current Overflow: -5 Current Checked out connections: 0",
  );
  await (await pool.acquire()).release();
  const { totals, ...counts } = pool.stats;
  assert.deepEqual(counts, {
    size: 5,
    idle: 1,
    leased: 0,
    connecting: 0,
    closing: 0,
    waiting: 0,
    overflow: 0,
    generation: 0,
  });
  const { acquired, timedOut, aborted, waitedMs, opened, closed } = totals;
  assert.deepEqual([acquired, timedOut, aborted, opened], [1, 0, 0, 1]);
  assert.ok(waitedMs >= 0);
  assert.deepEqual(Object.keys(closed), [
    "overflow",
    "recycle",
    "idle",
    "dead",
    "ping",
    "reset",
    "invalidated",
    "shutdown",
  ]);
  assert.equal(
    pool.status(),
    "Pool size: 5  Connections in pool: 1 Current Overflow: -4 Current Checked out connections: 0",
  );
  const others = [await pool.acquire(), await pool.acquire()];
  assert.equal(
    pool.status(),
    "Pool size: 5  Connections in pool: 0 Current Overflow: -3 Current Checked out connections: 2",
  );
  for (const lease of others) await lease.release();
  await using unlimited = new Pool({ connect: () => Promise.resolve(new Driver()), size: 0 });
  await (await unlimited.acquire()).release();
  assert.match(unlimited.status(), /^Pool size: 0 .* Current Overflow: 0 /);
});

Deno.test("the null kind has the same methods, and takes prePing and recycle without effect", async () => {
  const same = (pool: ConnectionPool<Driver>): PoolStats => pool.stats;
  await using pool = new NullPool({
    connect: () => Promise.resolve(new Driver()),
    timeout: 30,
    prePing: true,
    recycle: 0,
  });
  assert.equal(same(pool).size, 0);
  assert.equal(pool.status(), "NullPool");
  const members = (of: object): string[] => {
    const all = new Set<string>();
    for (let it = Object.getPrototypeOf(of); it !== Object.prototype; it = Object.getPrototypeOf(it)) {
      for (const name of Object.getOwnPropertyNames(it)) all.add(name);
    }
    return [...all];
  };
  for (const name of ["acquire", "use", "invalidateAll", "close", "on", "stats", "connections", "status"]) {
    for (const one of [pool, new Pool({ connect: () => Promise.resolve(new Driver()) })]) {
      assert.ok(members(one).includes(name), name);
    }
  }
});

Deno.test("errors have the names, fields, causes and the state of the pool that are promised", async () => {
  const cause = new Error("refused");
  const clock = new ManualClock();
  const state = /\(size 1, limit 1: \d idle, \d leased, \d connecting, \d closing, \d waiting\)/;
  const options: PoolOptions<Driver> = {
    connect: () => Promise.reject(cause),
    size: 1,
    maxOverflow: 0,
    clock,
  };
  const pool = new Pool(options);
  const refused = await pool.acquire().catch((error) => error);
  assert.ok(refused instanceof ConnectError && refused.cause === cause);
  assert.match(refused.message, state);
  const late = pool.acquire({ timeout: 0 }).catch((error) => error);
  const expired = await late;
  assert.ok(expired instanceof PoolTimeoutError && expired.cause === cause);
  assert.equal(expired.where satisfies "queue" | "connect" | "ping", "connect");
  assert.match(expired.message, state);
  const reason = new Error("enough");
  assert.equal(await pool.acquire({ signal: AbortSignal.abort(reason) }).catch((error) => error), reason);
  const waiter = pool.acquire().catch((error) => error);
  await pool.close();
  for (const closed of [await waiter, await pool.acquire().catch((error) => error)]) {
    assert.ok(closed instanceof PoolClosedError);
    assert.match(closed.message, state);
  }
  await using other = new Pool({ ...options, connect: () => Promise.resolve(new Driver()) });
  const lease = await other.acquire();
  await lease.release();
  assert.throws(() => lease.connection, (error: Error) => {
    assert.ok(error instanceof LeaseReleasedError);
    assert.match(error.message, state);
    return true;
  });
  const lost = new ConnectionLostError("gone", false, { cause });
  assert.deepEqual([lost.sent, lost.cause, lost.name], [false, cause, "ConnectionLostError"]);
});

Deno.test("an option that is unknown, negative, NaN or of the wrong kind is refused by its name", () => {
  const wrong: Record<string, unknown[]> = {
    size: [-1, NaN, 1.5, "5", null],
    maxOverflow: [-2, NaN, 0.5],
    overflowLinger: [-1, NaN],
    timeout: [-1, NaN, "30s", null],
    recycle: [-2, NaN, "1h"],
    recycleJitter: [-0.1, 1.1, NaN],
    prePing: ["yes", 1, null, { idleOver: -1 }, { timeout: NaN }, { timeout: -1 }, { idle: 5 }],
    keepAlive: [-1, NaN],
    idle: [-2, NaN],
    order: ["random", true],
    resetOnReturn: ["commit", true, null],
    resetTimeout: [-1, NaN],
    maxConnecting: [0, -1, NaN, 1.5],
    connectTimeout: [-1, NaN],
    leakWarning: [-1, NaN],
    connect: [undefined, "mysql://", null],
    classify: ["other"],
    clock: [{}, null],
    random: [0.5],
    sise: [5],
  };
  for (const [name, values] of Object.entries(wrong)) {
    for (const value of values) {
      for (const Kind of [Pool, NullPool]) {
        assert.throws(
          // deno-lint-ignore no-explicit-any -- wrong on purpose
          () => new Kind({ connect: () => Promise.resolve(new Driver()), [name]: value } as any),
          (error: Error) => {
            assert.ok(error instanceof TypeError || error instanceof RangeError);
            assert.match(
              error.message,
              new RegExp(`pool option (prePing\\.)?${name}|pool option prePing\\.`),
            );
            return true;
          },
          `${name}: ${String(value)}`,
        );
      }
    }
  }
});

Deno.test("a time that is none is refused by acquire and by close, and changes nothing", async () => {
  for (const Kind of [Pool, NullPool]) {
    await using pool = new Kind({ connect: () => Promise.resolve(new Driver()) });
    for (const timeout of [-1, NaN, "1" as unknown as number]) {
      await assert.rejects(pool.acquire({ timeout }), RangeError);
    }
    await assert.rejects(pool.close({ drain: -1 }), RangeError);
    await (await pool.acquire()).release();
  }
});
