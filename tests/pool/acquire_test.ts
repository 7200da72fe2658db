/**
 * Getting a connection: limits, order, abort, hand-over. The numbers are those of the list of what an ideal pool does.
 */
import assert from "node:assert/strict";
import { ConnectError, NullPool, Pool, PoolTimeoutError } from "../../src/pool/mod.ts";
import { settled, watch } from "./fake_driver.ts";
import { openPool } from "./opened_pool.ts";

Deno.test("1: one deadline covers the queue, the connect and the ping together", async () => {
  await using it = openPool({ size: 1, maxOverflow: 0, timeout: 2, prePing: { timeout: 10 } });
  const { pool, driver, advance } = it;
  const first = await pool.acquire();
  const second = watch(pool.acquire());
  await advance(1.5);
  driver.made[0].answers.ping = "held";
  await first.release();
  await settled();
  assert.equal(driver.made[0].holds, 1, "it is pinged for the second");
  await advance(0.4);
  assert.equal(second.done, false);
  await advance(0.2);
  assert.ok(second.error instanceof PoolTimeoutError);
  assert.equal(second.error.where, "ping");
  assert.equal(driver.made[0].destroyed, 1, "a late answer must not reach the next command");
});

Deno.test("1: a waiter whose connection was dead keeps its place and what is left of its time", async () => {
  await using it = openPool({ size: 2, maxOverflow: 0, timeout: 5, prePing: true });
  const { pool, driver, advance } = it;
  const [a, b] = [await pool.acquire(), await pool.acquire()];
  const [first, second] = [watch(pool.acquire()), watch(pool.acquire())];
  await advance(1);
  driver.how = "held";
  driver.made[0].answers.ping = new Error("gone");
  await a.release();
  await settled();
  assert.equal(driver.attempts.length, 1, "one is made in its place");
  driver.succeed();
  await settled();
  assert.ok(first.value, "the first is served first, though it was pinged for in vain");
  assert.equal(second.done, false);
  await advance(4.1);
  assert.ok(second.error instanceof PoolTimeoutError);
  await b.release();
  await first.value.release();
});

Deno.test("1: a deadline that is over takes only what is idle and needs no ping", async () => {
  await using it = openPool({ prePing: { idleOver: 10 } });
  const { pool, driver, advance } = it;
  await assert.rejects(pool.acquire({ timeout: 0 }), PoolTimeoutError);
  await (await pool.acquire()).release();
  await (await pool.acquire({ timeout: 0 })).release();
  await advance(11);
  await assert.rejects(pool.acquire({ timeout: 0 }), { name: "PoolTimeoutError", where: "ping" });
  assert.equal(driver.made[0].open, true, "nothing is wrong with it");
});

Deno.test("8: connecting, idle, leased and closing together never exceed the limit", async () => {
  await using it = openPool({ size: 2, maxOverflow: 1, maxConnecting: 9 });
  const { pool, driver, advance } = it;
  const leases = await Promise.all([pool.acquire(), pool.acquire(), pool.acquire()]);
  for (const connection of driver.made) connection.answers.close = "held";
  await leases[0].release();
  await leases[1].release();
  await leases[2].release();
  await settled();
  assert.deepEqual([pool.stats.idle, pool.stats.closing], [2, 1], "the third is on its way out");
  const again = [await pool.acquire(), await pool.acquire()];
  const third = watch(pool.acquire());
  await settled();
  assert.equal(driver.connects, 3, "the one that closes still counts");
  await advance(5.1);
  assert.ok(third.value, "its limit is over: the socket goes, the next may come");
  assert.equal(driver.openMax, 3);
  for (const lease of [...again, third.value!]) await lease.release();
});

Deno.test("9: waiters are served in the order of coming, and nobody barges in", async () => {
  await using it = openPool({ size: 1, maxOverflow: 0 });
  const { pool } = it;
  const held = await pool.acquire();
  const served: number[] = [];
  const all = [0, 1, 2, 3].map((i) => pool.acquire().then((lease) => (served.push(i), lease)));
  const end = held.release();
  const barger = pool.acquire().then((lease) => (served.push(99), lease));
  await end;
  for (const one of [...all, barger]) await (await one).release();
  assert.deepEqual(served, [0, 1, 2, 3, 99]);
});

Deno.test("10: a waiter takes what comes first, and an abandoned connect is kept", async () => {
  await using it = openPool({ size: 2, maxOverflow: 0 });
  const { pool, driver } = it;
  const first = await pool.acquire();
  driver.how = "held";
  const second = watch(pool.acquire());
  await settled();
  assert.equal(driver.attempts.length, 1);
  await first.release();
  await settled();
  assert.ok(second.value, "the returned one came first");
  driver.succeed();
  await settled();
  assert.deepEqual([pool.stats.idle, pool.stats.leased], [1, 1], "the other lies ready");
  await second.value.release();
});

Deno.test("11: every unit of capacity that becomes free wakes the next waiter", async (t) => {
  for (const how of ["a failed reset", "invalidate", "detach", "death", "a failed connect", "expiry"]) {
    await t.step(how, async () => {
      await using it = openPool({ size: 1, maxOverflow: 0, recycle: how === "expiry" ? 5 : -1 });
      const { pool, driver, advance } = it;
      if (how === "a failed connect") driver.how = "held";
      const holder = watch(pool.acquire());
      await settled();
      const waiter = watch(pool.acquire());
      await settled();
      assert.equal(waiter.done, false);
      const connection = driver.made[0];
      if (how === "a failed reset") {
        connection.inTransaction = true;
        connection.answers.rollback = new Error("lost");
        await holder.value!.release();
      } else if (how === "invalidate") holder.value!.invalidate(new Error("lost"));
      else if (how === "detach") holder.value!.detach().destroy();
      else if (how === "death") connection.die();
      else if (how === "a failed connect") driver.fail(new Error("refused"));
      else {
        await advance(6);
        await holder.value!.release();
      }
      if (how === "a failed connect") {
        await advance(1);
        assert.ok(holder.error instanceof ConnectError);
        driver.succeed();
      }
      await advance(0);
      assert.ok(waiter.value, "the waiter was not woken");
      await waiter.value.release();
    });
  }
});

Deno.test("12: five dead connections do not eat anybody's tries", async () => {
  await using it = openPool({ size: 5, maxOverflow: 0, prePing: true });
  const { pool, driver, advance } = it;
  const all = await Promise.all(Array.from({ length: 5 }, () => pool.acquire()));
  for (const lease of all) await lease.release();
  await advance(60);
  for (const connection of driver.made) connection.answers.ping = new Error("gone");
  const leases = await Promise.all([pool.acquire(), pool.acquire(), pool.acquire()]);
  assert.equal(driver.open, 3, "the dead ones are gone, those asked for are new");
  for (const lease of leases) await lease.release();
});

Deno.test("26: an abort at any moment settles at once and leaks nothing", async (t) => {
  for (const where of ["before", "queue", "connect", "ping"]) {
    await t.step(where, async () => {
      await using it = openPool({ size: 1, maxOverflow: 0, prePing: true });
      const { pool, driver, clock } = it;
      const stop = new AbortController();
      const reason = new Error("enough");
      if (where === "connect") driver.how = "held";
      const holder = where === "queue" ? await pool.acquire() : undefined;
      if (where === "ping") {
        await (await pool.acquire()).release();
        clock.advance(1_000);
        driver.made[0].answers.ping = "held";
      }
      if (where === "before") stop.abort(reason);
      const waiter = watch(pool.acquire({ signal: stop.signal }));
      await settled();
      stop.abort(reason);
      await Promise.resolve();
      assert.equal(waiter.error, reason, "it rejects with the signal's own reason");
      assert.equal(pool.stats.waiting, 0);
      if (where === "connect") {
        driver.succeed();
        await settled();
        assert.equal(pool.stats.idle, 1, "what was made is kept");
      }
      driver.how = "at once";
      await holder?.release();
      await (await pool.acquire()).release();
    });
  }
});

Deno.test("fifo keeps all warm, lifo lets the excess lie", async () => {
  for (const order of ["fifo", "lifo"] as const) {
    await using it = openPool({ size: 2, order });
    const [a, b] = [await it.pool.acquire(), await it.pool.acquire()];
    await a.release();
    await b.release();
    const next = await it.pool.acquire();
    assert.equal(next.connection.id, order === "fifo" ? 1 : 2);
    await next.release();
  }
});

Deno.test("an overflowing connection is closed on return, whichever it is, and kept where someone waits", async () => {
  await using it = openPool({ size: 1, maxOverflow: 1 });
  const { pool, driver } = it;
  const [a, b] = [await pool.acquire(), await pool.acquire()];
  const waiter = pool.acquire();
  await a.release();
  const c = await waiter;
  assert.equal(c.connection.id, 1);
  await b.release();
  await c.release();
  await settled();
  assert.equal(driver.open, 1);
  assert.equal(pool.stats.totals.closed.overflow, 1);
  assert.equal(
    pool.status(),
    "Pool size: 1  Connections in pool: 1 Current Overflow: 0 Current Checked out connections: 0",
  );
});

Deno.test("size 0 has no limit and keeps all", async () => {
  await using it = openPool({ size: 0, maxConnecting: 100 });
  const all = await Promise.all(Array.from({ length: 40 }, () => it.pool.acquire()));
  for (const lease of all) await lease.release();
  assert.equal(it.pool.stats.idle, 40);
});

Deno.test("26: an abort in the very moment in which a connection comes gives either that connection or the reason", async () => {
  for (const Kind of [Pool, NullPool]) {
    for (let turns = 0; turns < 12; turns++) {
      await using it = openPool({ size: 1, maxOverflow: 0 }, Kind);
      const { pool, driver } = it;
      driver.how = "held";
      const stop = new AbortController();
      const reason = new Error("enough");
      const waiter = watch(pool.acquire({ signal: stop.signal }));
      await settled();
      driver.succeed();
      for (let i = 0; i < turns; i++) await Promise.resolve();
      stop.abort(reason);
      await settled();
      assert.ok(waiter.value || waiter.error === reason, `${Kind.name}, after ${turns} turns`);
      assert.equal(pool.stats.leased, waiter.value ? 1 : 0);
      assert.equal(driver.open, waiter.value || Kind === Pool ? 1 : 0);
      await waiter.value?.release();
    }
  }
});
