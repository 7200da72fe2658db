/**
 * Making connections: few at a time, not too often, and what each kind of failure does to those who wait.
 */
import assert from "node:assert/strict";
import { ConnectError, PoolTimeoutError } from "../../src/pool/mod.ts";
import { settled, watch } from "./fake_driver.ts";
import { openPool } from "./opened_pool.ts";

const classify = (error: unknown) =>
  ({ denied: "permanent", "too many": "busy" } as const)[(error as Error).message] ?? "other";

Deno.test("7: a storm of reconnects is a few at a time", async () => {
  await using it = openPool({ size: 50, maxConnecting: 3 });
  const { pool, driver } = it;
  driver.how = "held";
  const all = Array.from({ length: 50 }, () => watch(pool.acquire()));
  await settled();
  assert.equal(driver.attempts.length, 3);
  driver.succeed();
  await settled();
  assert.equal(driver.attempts.length, 3, "one done, the next begins");
  driver.how = "at once";
  while (driver.attempts.length > 0) {
    driver.succeed();
    await settled();
  }
  for (const one of all) await one.value!.release();
});

Deno.test("7: after a failure one try at a time, ever more rarely, each failing one waiter", async () => {
  await using it = openPool({ size: 50, maxConnecting: 3, timeout: 1_000, random: () => 1 - 1e-9 });
  const { pool, driver, advance } = it;
  driver.how = new Error("refused");
  const all = Array.from({ length: 20 }, () => watch(pool.acquire()));
  await settled();
  assert.equal(driver.connects, 3);
  assert.equal(all.filter((one) => one.error instanceof ConnectError).length, 3);
  for (let i = 0; i < 60; i++) await advance(0.5);
  assert.ok(driver.connects <= 16, `30 s, and ${driver.connects} tries`);
  driver.how = "at once";
  for (let i = 0; i < 12; i++) await advance(0.5);
  assert.equal(all.filter((one) => one.done).length, 20, "all are served as soon as one succeeds");
  for (const one of all) await one.value?.release();
});

Deno.test("7: a wrong password fails all at once, also those who come while it is fresh, without a try", async () => {
  await using it = openPool({ classify });
  const { pool, driver, advance } = it;
  driver.how = "held";
  const all = [1, 2, 3, 4, 5].map(() => watch(pool.acquire()));
  await settled();
  for (const one of driver.attempts.splice(0)) one.result.reject(new Error("denied"));
  await settled();
  for (const one of all) assert.match((one.error as Error).message, /^could not connect: denied \(size 5/);
  const { connects } = driver;
  await assert.rejects(pool.acquire(), { name: "ConnectError" });
  assert.equal(driver.connects, connects, "no retry loop");
  await advance(6);
  driver.how = "at once";
  await (await pool.acquire()).release();
});

Deno.test("20: a server that is full makes nobody fail as long as there are leases that may come back", async () => {
  await using it = openPool({ classify, timeout: 60 });
  const { pool, driver, advance } = it;
  const lease = await pool.acquire();
  driver.how = new Error("too many");
  const waiter = watch(pool.acquire());
  await advance(10);
  assert.equal(waiter.done, false);
  assert.ok(driver.connects < 12, "it is not hammered");
  await lease.release();
  await settled();
  assert.ok(waiter.value);
  waiter.value.invalidate();
  await advance(6);
  const alone = watch(pool.acquire());
  await advance(6);
  assert.ok(alone.error instanceof ConnectError, "alone, it is told");
});

Deno.test("a connect has a limit; one that comes after it is destroyed and does not count", async () => {
  await using it = openPool({ size: 1, maxOverflow: 0, connectTimeout: 3, timeout: 60 });
  const { pool, driver, advance } = it;
  driver.how = "held";
  const waiter = watch(pool.acquire());
  await advance(3.1);
  assert.ok(waiter.error instanceof ConnectError);
  const late = driver.succeed();
  await settled();
  assert.equal(late.destroyed, 1);
  driver.how = "at once";
  await advance(6);
  await (await pool.acquire()).release();
});

Deno.test("22: the driver is asked for each connection, so that a new password is taken", async () => {
  const passwords = ["old", "new"];
  const used: string[] = [];
  await using it = openPool({ size: 1, maxOverflow: 0 });
  it.driver.how = "at once";
  it.driver.prepare = () => used.push(passwords[0]);
  await (await it.pool.acquire()).release();
  passwords.shift();
  it.pool.invalidateAll({ soft: true });
  await (await it.pool.acquire()).release();
  assert.deepEqual(used, ["old", "new"]);
});

Deno.test("25: a driver that throws or answers nonsense, and a listener that throws, break nothing", async () => {
  await using it = openPool({ size: 1, maxOverflow: 0, timeout: 100 });
  const { pool, driver, advance } = it;
  for (const type of ["connect", "acquire", "release", "close", "error"] as const) {
    pool.on(type, () => {
      throw new Error("listener");
    });
  }
  driver.destroyThrows = true;
  // deno-lint-ignore no-explicit-any -- what a wrong driver may do
  for (const nonsense of [undefined, {}, 5] as any[]) {
    driver.how = () => Promise.resolve(nonsense);
    const waiter = watch(pool.acquire());
    await advance(6);
    assert.ok(waiter.error instanceof ConnectError, String(nonsense));
  }
  driver.how = () => {
    throw new Error("sync");
  };
  const thrown = watch(pool.acquire());
  await advance(6);
  assert.match((thrown.error as Error).message, /sync/);
  driver.how = "at once";
  const lease = await pool.acquire();
  Object.defineProperty(lease.connection, "inTransaction", {
    get() {
      throw new Error("getter");
    },
  });
  await lease.release();
  await (await pool.acquire()).release();
  assert.equal(driver.open, 1);
  driver.destroyThrows = false;
});

Deno.test("a time-out tells size, idle, leased, connecting, waiting and the last connect error", async () => {
  await using it = openPool({ size: 1, maxOverflow: 1, timeout: 2, classify });
  const { pool, driver, advance } = it;
  const lease = await pool.acquire();
  driver.how = new Error("too many");
  const waiter = watch(pool.acquire());
  await advance(2.1);
  assert.ok(waiter.error instanceof PoolTimeoutError);
  assert.match(
    waiter.error.message,
    /^no connection within 2 s \(size 1, limit 2: 0 idle, 1 leased, \d connecting, 0 closing, \d waiting\); the last connect failed: too many$/,
  );
  assert.equal((waiter.error.cause as Error).message, "too many");
  assert.equal(waiter.error.where, "connect");
  await lease.release();
});

Deno.test("23: a lease that is held for too long is told of with the stack of its acquire, and its return too", async () => {
  await using it = openPool({ leakWarning: 10 });
  const { pool, advance } = it;
  const told: string[] = [];
  pool.on("leak", (event) => told.push(`leak ${event.id} ${(event.error as Error).stack}`));
  pool.on("leak-returned", (event) => told.push(`returned ${event.id}`));
  await (await pool.acquire()).release();
  const lease = await pool.acquire();
  await advance(11);
  await lease.release();
  assert.equal(told.length, 2);
  assert.match(told[0], /^leak 1 .*acquired here[^]*connecting_test\.ts/);
  assert.equal(told[1], "returned 1");
});

Deno.test("23: an acquire inside of use() of the same pool that times out is told what it did", async () => {
  await using it = openPool({ size: 1, maxOverflow: 0, timeout: 2 });
  const { pool, advance } = it;
  let error: unknown;
  const outer = pool.use(async () => {
    error = await pool.acquire().catch((it) => it);
  });
  await advance(2.1);
  await outer;
  assert.match((error as Error).message, /asked for inside of use\(\) of the same pool/);
});

Deno.test("28: counters and events tell what happened", async () => {
  await using it = openPool({ size: 1, maxOverflow: 0, timeout: 1 });
  const { pool, advance } = it;
  const seen: string[] = [];
  for (const type of ["connect", "acquire", "release", "invalidate", "close"] as const) {
    pool.on(type, (event) => seen.push(`${event.type} ${event.id} ${event.reason ?? ""}`.trim()));
  }
  const lease = await pool.acquire();
  const late = watch(pool.acquire());
  await advance(1.1);
  const stop = new AbortController();
  const aborted = watch(pool.acquire({ signal: stop.signal }));
  stop.abort();
  const waiter = watch(pool.acquire());
  await advance(0.5);
  await lease.release();
  await settled();
  waiter.value!.invalidate(new Error("lost"));
  assert.ok(late.done && aborted.done);
  assert.deepEqual(seen, [
    "connect 1",
    "acquire 1",
    "release 1",
    "acquire 1",
    "invalidate 1 hard",
    "close 1 invalidated",
  ]);
  const { acquired, timedOut, aborted: gone, waitedMs, usedMs, opened, closed } = pool.stats.totals;
  assert.deepEqual([acquired, timedOut, gone, waitedMs, usedMs, opened], [2, 1, 1, 500, 1600, 1]);
  assert.equal(closed.invalidated, 1);
});

Deno.test("28: what fails is told as an error, with its reason: a connect, a ping, a reset", async () => {
  await using it = openPool({ size: 1, maxOverflow: 0, prePing: true });
  const { pool, driver, advance } = it;
  const told: string[] = [];
  pool.on("error", ({ reason, id, error }) => told.push(`${reason} ${id}: ${(error as Error).message}`));
  driver.how = new Error("refused");
  await assert.rejects(pool.acquire());
  driver.how = "at once";
  await advance(1);
  await (await pool.acquire()).release();
  driver.made[0].answers.ping = new Error("gone");
  const lease = await pool.acquire();
  lease.connection.inTransaction = true;
  lease.connection.answers.rollback = new Error("deadlock");
  await lease.release();
  assert.deepEqual(told, ["connect undefined: refused", "ping 1: gone", "reset 2: deadlock"]);
});

Deno.test("a timeout of 0 for the pool leaves a connect its time", async () => {
  await using it = openPool({ timeout: 0 });
  const { pool, driver, advance } = it;
  driver.how = "held";
  const waiter = watch(pool.acquire({ timeout: 10 }));
  await advance(5);
  driver.succeed();
  await settled();
  assert.ok(waiter.value);
  await waiter.value.release();
});
