/**
 * The end of a lease and the end of the pool.
 */
import assert from "node:assert/strict";
import { LeaseReleasedError, PoolClosedError } from "../../src/pool/mod.ts";
import { settled, watch } from "./fake_driver.ts";
import { openPool } from "./opened_pool.ts";

Deno.test("17: nothing is sent on return unless a transaction is open", async () => {
  await using it = openPool();
  const { pool, driver } = it;
  await (await pool.acquire()).release();
  assert.deepEqual(driver.made[0].commands, []);
  const lease = await pool.acquire();
  lease.connection.inTransaction = true;
  await lease.release();
  assert.deepEqual(driver.made[0].commands, ["rollback"]);
  assert.equal(pool.stats.idle, 1);
});

Deno.test("17: resetOnReturn full resets always, none never", async () => {
  for (const resetOnReturn of ["full", "none"] as const) {
    await using it = openPool({ resetOnReturn });
    const lease = await it.pool.acquire();
    lease.connection.inTransaction = true;
    await lease.release();
    assert.deepEqual(it.driver.made[0].commands, resetOnReturn === "full" ? ["reset"] : []);
  }
});

Deno.test("17: what is busy, or cannot be reset in time, is destroyed", async (t) => {
  await t.step("busy", async () => {
    await using it = openPool();
    const lease = await it.pool.acquire();
    lease.connection.inFlight = 1;
    await lease.release();
    assert.equal(it.driver.made[0].destroyed, 1);
  });
  await t.step("no answer", async () => {
    await using it = openPool({ resetTimeout: 2 });
    const lease = await it.pool.acquire();
    lease.connection.inTransaction = true;
    lease.connection.answers.rollback = "held";
    const end = watch(lease.release());
    await it.advance(2.1);
    assert.ok(end.done && end.error === undefined, "release does not reject");
    assert.equal(it.driver.made[0].destroyed, 1);
    assert.equal(it.pool.stats.totals.closed.reset, 1);
  });
});

Deno.test("18: a lease is used once: the second release is harmless, a stale one touches nobody", async () => {
  await using it = openPool({ size: 1, maxOverflow: 0 });
  const { pool } = it;
  const stale = await pool.acquire();
  await stale.release();
  await stale.release();
  const owner = await pool.acquire();
  await stale.release();
  stale.invalidate(new Error("late"));
  assert.equal(pool.stats.leased, 1);
  assert.equal(owner.connection.open, true, "the next owner has it still");
  assert.throws(() => stale.connection, LeaseReleasedError);
  assert.throws(() => stale.detach(), LeaseReleasedError);
  await owner.release();
});

Deno.test("invalidate hard ends the lease now; soft lets it be used on and closes it on return", async () => {
  await using it = openPool();
  const { pool, driver } = it;
  const soft = await pool.acquire();
  soft.invalidate(undefined, { soft: true });
  assert.equal(soft.connection.open, true);
  await soft.release();
  await settled();
  assert.equal(driver.made[0].open, false);
  const hard = await pool.acquire();
  hard.invalidate(new Error("2013"));
  assert.equal(driver.made[1].open, false);
  assert.throws(() => hard.connection, LeaseReleasedError);
});

Deno.test("detach takes a connection out for good, and makes room", async () => {
  await using it = openPool({ size: 1, maxOverflow: 0 });
  const mine = (await it.pool.acquire()).detach();
  const other = await it.pool.acquire();
  assert.notEqual(other.connection.id, mine.id);
  await other.release();
  await it.pool.close();
  assert.equal(mine.open, true, "it is not the pool's any more");
  mine.destroy();
});

Deno.test("use releases also where its action throws, and hands on the error", async () => {
  await using it = openPool({ size: 1, maxOverflow: 0 });
  const error = new Error("mine");
  await assert.rejects(it.pool.use(() => Promise.reject(error)), error);
  assert.equal(await it.pool.use((connection) => Promise.resolve(connection.id)), 1);
});

Deno.test("27: nothing of one caller sticks: an aborted signal of the last one does not touch the next", async () => {
  await using it = openPool({ size: 1, maxOverflow: 0, prePing: true });
  const stop = new AbortController();
  const lease = await it.pool.acquire({ signal: stop.signal });
  stop.abort();
  assert.equal(lease.connection.open, true, "the signal is for the acquire, not for the use");
  assert.equal(it.pool.stats.totals.aborted, 0);
  await lease.release();
  const next = await it.pool.acquire();
  assert.equal(next.connection.id, 1);
  await next.release();
});

Deno.test("21: close refuses, rejects, drains within its limit, destroys the rest, and may be called twice", async () => {
  const it = openPool({ size: 2, maxOverflow: 0 });
  const { pool, driver, advance } = it;
  const [kept, returned] = [await pool.acquire(), await pool.acquire()];
  const waiter = watch(pool.acquire());
  const end = watch(pool.close({ drain: 5 }));
  const again = watch(pool.close());
  await settled();
  assert.ok(waiter.error instanceof PoolClosedError);
  await assert.rejects(pool.acquire(), PoolClosedError);
  await returned.release();
  await settled();
  assert.equal(driver.made[1].open, false, "closed on return");
  assert.equal(end.done, false);
  await advance(5.1);
  assert.ok(end.done && again.done);
  assert.equal(driver.made[0].open, false, "out of patience");
  await kept.release();
  await it[Symbol.asyncDispose]();
});

Deno.test("21: close ends a connect that is under way, and one that comes late is destroyed", async () => {
  const it = openPool();
  const { pool, driver } = it;
  driver.how = "held";
  const waiter = watch(pool.acquire());
  await settled();
  const end = watch(pool.close());
  await settled();
  assert.ok(driver.attempts[0].signal.aborted);
  assert.ok(waiter.error instanceof PoolClosedError);
  assert.ok(end.done);
  driver.succeed();
  await settled();
  await it[Symbol.asyncDispose]();
});

Deno.test("21: close does not wait for a ping that hangs", async () => {
  const it = openPool({ prePing: { timeout: 100 } });
  const { pool, driver } = it;
  await (await pool.acquire()).release();
  driver.made[0].answers.ping = "held";
  const waiter = watch(pool.acquire());
  const end = watch(pool.close());
  await settled();
  assert.ok(waiter.error instanceof PoolClosedError && end.done);
  await it[Symbol.asyncDispose]();
});
