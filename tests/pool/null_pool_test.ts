/**
 * The null kind: a connection for each use.
 */
import assert from "node:assert/strict";
import { ConnectError, NullPool, PoolClosedError, PoolTimeoutError } from "../../src/pool/mod.ts";
import { settled, watch } from "./fake_driver.ts";
import { openPool } from "./opened_pool.ts";

const open = (options: Parameters<typeof openPool>[0] = {}) => openPool(options, NullPool);

Deno.test("each use has a connection of its own, closed after it with a goodbye, never pinged, however old", async () => {
  await using it = open({ recycle: 0, prePing: true });
  const { pool, driver } = it;
  for (const id of [1, 2]) assert.equal(await pool.use((connection) => Promise.resolve(connection.id)), id);
  assert.deepEqual(driver.made.map(({ commands }) => commands), [["close"], ["close"]]);
  const all = await Promise.all(Array.from({ length: 100 }, () => pool.acquire()));
  assert.deepEqual([driver.open, pool.stats.leased, pool.stats.idle], [100, 100, 0], "without a limit");
  for (const lease of all) await lease.release();
  assert.equal(driver.open, 0);
});

Deno.test("1: its limit covers the connect; what comes later is destroyed", async () => {
  await using it = open({ timeout: 2 });
  const { pool, driver, advance } = it;
  driver.how = "held";
  const late = watch(pool.acquire());
  await advance(2.1);
  assert.ok(late.error instanceof PoolTimeoutError);
  assert.equal(late.error.where, "connect");
  assert.match(late.error.message, /1 connecting/);
  assert.ok(driver.attempts[0].signal.aborted, "the driver is told");
  assert.equal(driver.succeed().destroyed, 0);
  await settled();
  assert.deepEqual([driver.open, pool.stats.totals.timedOut], [0, 1]);
});

Deno.test("26: an abort settles at once with its own reason, and what comes later is destroyed", async () => {
  await using it = open();
  const { pool, driver } = it;
  driver.how = "held";
  const stop = new AbortController();
  const waiter = watch(pool.acquire({ signal: stop.signal }));
  const reason = new Error("enough");
  stop.abort(reason);
  await settled();
  assert.equal(waiter.error, reason);
  driver.succeed();
  await settled();
  assert.deepEqual([driver.open, pool.stats.totals.aborted], [0, 1]);
});

Deno.test("25: a driver that fails, throws or answers nonsense is told of as such, and the next use is as good as ever", async () => {
  await using it = open();
  const { pool, driver } = it;
  // deno-lint-ignore no-explicit-any -- what a wrong driver may do
  const nonsense = () => Promise.resolve(undefined) as any;
  const throws = () => {
    throw new Error("sync");
  };
  for (const how of [new Error("refused"), nonsense, throws]) {
    driver.how = how;
    await assert.rejects(pool.acquire(), (error: Error) => {
      assert.ok(error instanceof ConnectError);
      assert.match(error.message, /^could not connect: .*0 connecting|1 connecting/);
      return true;
    });
  }
  driver.how = "at once";
  const lease = await pool.acquire();
  lease.connection.answers.close = new Error("close");
  await lease.release();
  driver.destroyThrows = true;
  (await pool.acquire()).invalidate();
  driver.destroyThrows = false;
  await (await pool.acquire()).release();
  assert.equal(driver.open, 0);
});

Deno.test("17: one with a command under way is not said goodbye to", async () => {
  await using it = open();
  const lease = await it.pool.acquire();
  lease.connection.inFlight = 1;
  await lease.release();
  assert.deepEqual(it.driver.made[0].commands, []);
  assert.equal(it.driver.open, 0);
});

Deno.test("21: close ends what connects, waits for what is out, and refuses what comes", async () => {
  const it = open();
  const { pool, driver, advance } = it;
  const lease = await pool.acquire();
  driver.how = "held";
  const waiter = watch(pool.acquire());
  await settled();
  const end = watch(pool.close({ drain: 5 }));
  await settled();
  assert.ok(waiter.error instanceof PoolClosedError);
  await assert.rejects(pool.acquire(), PoolClosedError);
  assert.equal(end.done, false);
  await advance(5.1);
  assert.ok(end.done);
  assert.equal(driver.open, 0);
  await lease.release();
  driver.attempts[0].result.reject(new Error("over"));
  await it[Symbol.asyncDispose]();
});

Deno.test("23: a lease that is held for too long is told of here, too", async () => {
  await using it = open({ leakWarning: 10 });
  const told: string[] = [];
  for (const type of ["leak", "leak-returned"] as const) it.pool.on(type, ({ type }) => told.push(type));
  const lease = await it.pool.acquire();
  await it.advance(11);
  await lease.release();
  assert.deepEqual(told, ["leak", "leak-returned"]);
});

Deno.test("detach, invalidate and death end a lease as they do everywhere", async () => {
  await using it = open();
  const { pool, driver } = it;
  const mine = (await pool.acquire()).detach();
  (await pool.acquire()).invalidate(new Error("2013"));
  const dead = await pool.acquire();
  dead.connection.die();
  await settled();
  await dead.release();
  const soft = await pool.acquire();
  soft.invalidate(undefined, { soft: true });
  assert.equal(soft.connection.open, true);
  await soft.release();
  assert.deepEqual(driver.made.map(({ open }) => open), [true, false, false, false]);
  const { closed, acquired, released } = pool.stats.totals;
  assert.deepEqual([closed.invalidated, closed.dead, acquired, released], [2, 1, 4, 4]);
  mine.destroy();
});
