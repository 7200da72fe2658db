/**
 * Which connection may be used: pings, deaths, generations, ages, signs of life.
 */
import assert from "node:assert/strict";
import { settled, watch } from "./fake_driver.ts";
import { openPool } from "./opened_pool.ts";

Deno.test("2: a ping has its own limit, and its expiry destroys the socket", async () => {
  await using it = openPool({ prePing: { timeout: 1 }, timeout: 30 });
  const { pool, driver, advance } = it;
  await (await pool.acquire()).release();
  driver.made[0].answers.ping = "held";
  const next = watch(pool.acquire());
  await advance(1.1);
  assert.equal(driver.made[0].destroyed, 1);
  assert.equal(next.value?.connection.id, 2, "and another is made in the time that is left");
  await next.value!.release();
});

Deno.test("3: whatever a ping throws, the connection is dead", async () => {
  for (
    const how of [new TypeError("x is undefined"), () => {
      throw "a string";
    }]
  ) {
    await using it = openPool({ prePing: true });
    await (await it.pool.acquire()).release();
    it.driver.made[0].answers.ping = how;
    const lease = await it.pool.acquire();
    assert.equal(lease.connection.id, 2);
    await lease.release();
  }
});

Deno.test("4: a connection that the server closes while idle is out at once, without a command", async () => {
  await using it = openPool();
  const { pool, driver } = it;
  await (await pool.acquire()).release();
  driver.made[0].die(new Error("4031 disconnected by the server because of inactivity"));
  await settled();
  assert.deepEqual([pool.stats.idle, pool.stats.totals.closed.dead], [0, 1]);
  assert.deepEqual(driver.made[0].commands, []);
  const lease = await pool.acquire();
  assert.equal(lease.connection.id, 2);
  await lease.release();
});

Deno.test("5: what answered a moment ago is not pinged; idleOver 0 always pings", async () => {
  for (const idleOver of [0, 1]) {
    await using it = openPool({ prePing: { idleOver } });
    const { pool, driver, advance } = it;
    await (await pool.acquire()).release();
    await advance(0.5);
    await (await pool.acquire()).release();
    assert.equal(driver.made[0].commands.length, idleOver === 0 ? 1 : 0);
    await advance(1);
    await (await pool.acquire()).release();
    assert.equal(driver.made[0].commands.length, idleOver === 0 ? 2 : 1);
  }
});

Deno.test("a connection made for this acquire is not pinged", async () => {
  await using it = openPool({ prePing: true });
  const lease = await it.pool.acquire();
  assert.deepEqual(it.driver.made[0].commands, []);
  await lease.release();
});

Deno.test("6: after a failed ping all older ones go: idle at once, leased on return, younger stay", async () => {
  await using it = openPool({ size: 4, prePing: { idleOver: 1 } });
  const { pool, driver, advance } = it;
  const [a, b, c] = await Promise.all([pool.acquire(), pool.acquire(), pool.acquire()]);
  await a.release();
  await b.release();
  await advance(2);
  driver.made[0].answers.ping = new Error("gone");
  const fresh = await pool.acquire();
  assert.equal(pool.stats.generation, 1);
  assert.deepEqual(driver.made.map((it) => it.open), [false, false, true, true]);
  assert.equal(driver.made[1].commands.length, 0, "without a word to who may not answer");
  await c.release();
  await fresh.release();
  await settled();
  assert.deepEqual(driver.made.map((it) => it.open), [false, false, false, true]);
});

Deno.test("6: invalidateAll soft replaces each at its next use; hard, now", async () => {
  await using it = openPool();
  const { pool, driver } = it;
  await (await pool.acquire()).release();
  pool.invalidateAll({ soft: true });
  assert.equal(driver.open, 1);
  const second = await pool.acquire();
  assert.equal(second.connection.id, 2);
  await second.release();
  pool.invalidateAll();
  assert.equal(driver.open, 0);
});

Deno.test("20: one lost connection is an accident, two within a second are an outage, a failover is one at once", async () => {
  await using it = openPool({
    size: 5,
    classify: (error) => (error as Error).message === "read-only" ? "failover" : "other",
  });
  const { pool, driver, advance } = it;
  const leases = await Promise.all(Array.from({ length: 5 }, () => pool.acquire()));
  for (const lease of leases.slice(2)) await lease.release();
  leases[0].invalidate(new Error("killed"));
  assert.equal(pool.stats.generation, 0);
  await advance(2);
  leases[1].invalidate(new Error("killed"));
  assert.equal(pool.stats.generation, 0);
  assert.equal(pool.stats.idle, 3);
  driver.made[2].die();
  await settled();
  assert.deepEqual([pool.stats.generation, pool.stats.idle], [1, 0], "the second within a second");
  await advance(5);
  const [a, b] = [await pool.acquire(), await pool.acquire()];
  await b.release();
  a.invalidate(new Error("read-only"));
  assert.deepEqual([pool.stats.generation, pool.stats.idle], [2, 0]);
});

Deno.test("13: a timer retires what is too old while it is idle, on return if it came due, never while leased", async () => {
  await using it = openPool({ size: 2, recycle: 100, recycleJitter: 0.5, random: () => 0.5 });
  const { pool, driver, advance } = it;
  const [a, b] = [await pool.acquire(), await pool.acquire()];
  await a.release();
  await advance(74);
  assert.equal(driver.open, 2, "75 s: half of the jitter, and only ever earlier");
  await advance(2);
  assert.deepEqual(driver.made.map((it) => it.open), [false, true], "the idle one by the timer");
  await advance(1_000);
  assert.equal(driver.made[1].open, true, "never one in use");
  await b.release();
  await settled();
  assert.equal(driver.made[1].open, false);
  assert.equal(pool.stats.totals.closed.recycle, 2);
});

Deno.test("13: recycle 0 makes a connection for each use, and each is used", async () => {
  await using it = openPool({ recycle: 0 });
  for (const id of [1, 2, 3]) {
    const lease = await it.pool.acquire();
    assert.equal(lease.connection.id, id);
    await lease.release();
  }
});

Deno.test("14: idle age is kept below the server's wait_timeout, and a recycle above it is warned about once", async () => {
  await using it = openPool({ recycle: 3600 });
  const { pool, driver, advance } = it;
  const warnings: (string | undefined)[] = [];
  pool.on("warning", (event) => warnings.push(event.reason));
  driver.prepare = (connection) => connection.idleTimeout = 100;
  await (await pool.acquire()).release();
  await advance(89);
  assert.equal(driver.open, 1);
  await advance(2);
  assert.equal(driver.open, 0, "ten seconds before the server would");
  assert.equal(pool.stats.totals.closed.idle, 1);
  await (await pool.acquire()).release();
  assert.equal(warnings.length, 1);
  assert.match(warnings[0]!, /recycle is 3600 s, but the server closes what is idle for 100 s/);
});

Deno.test("15: keepAlive pings idle ones; that is no use, and keeps the server from closing them", async () => {
  await using it = openPool({ keepAlive: 30, idle: 200 });
  const { pool, driver, advance } = it;
  driver.prepare = (connection) => connection.idleTimeout = 60;
  await (await pool.acquire()).release();
  for (let i = 0; i < 6; i++) {
    await advance(30);
    await advance(0.9);
  }
  assert.deepEqual(driver.made[0].commands, Array(6).fill("ping"));
  assert.equal(pool.stats.idle, 1);
  await advance(30);
  assert.equal(pool.stats.idle, 0, "it was idle for 200 s all the same");
});

Deno.test("15: a keepAlive that hangs does not keep anybody from a connection", async () => {
  await using it = openPool({ size: 2, keepAlive: 30, prePing: { timeout: 1 } });
  const { pool, driver, advance } = it;
  await (await pool.acquire()).release();
  driver.made[0].answers.ping = "held";
  await advance(30);
  assert.equal(pool.connections[0].state, "checking");
  const lease = await pool.acquire();
  assert.equal(lease.connection.id, 2, "another is made meanwhile");
  await advance(1.1);
  assert.equal(driver.made[0].open, false);
  await lease.release();
});

Deno.test("16: an overflowing connection lingers, where that is asked for", async () => {
  await using it = openPool({ size: 1, maxOverflow: 2, overflowLinger: 10 });
  const { pool, driver, advance } = it;
  const all = await Promise.all([pool.acquire(), pool.acquire(), pool.acquire()]);
  for (const lease of all) await lease.release();
  assert.equal(pool.stats.idle, 3);
  await advance(11);
  assert.equal(driver.open, 1, "down to size");
  await advance(1_000);
  assert.equal(driver.open, 1);
});

Deno.test("24: neither a wall clock that jumps nor a machine that slept does harm", async () => {
  await using it = openPool({ recycle: 3_600, idle: 600, prePing: { idleOver: 1e9 } });
  const { pool, driver, clock } = it;
  await (await pool.acquire()).release();
  const wall = clock.wallMs.bind(clock);
  for (const hours of [1, -5, 9]) {
    clock.wallMs = () => wall() + hours * 3_600_000;
    const lease = await pool.acquire();
    assert.equal(lease.connection.id, 1, `the wall clock went by ${hours} h`);
    await lease.release();
  }
  assert.deepEqual(
    driver.made[0].commands,
    ["ping", "ping"],
    "going on, it may have been asleep: pinged once",
  );
});

Deno.test("24: a process that was stopped finds its connections too old at the next acquire, before any timer", async () => {
  await using it = openPool({ recycle: 60 });
  const { pool, clock } = it;
  await (await pool.acquire()).release();
  clock.freeze(100_000);
  const lease = await pool.acquire();
  assert.equal(lease.connection.id, 2);
  await lease.release();
});

Deno.test("a connection that dies while it is pinged keeps nobody waiting for the ping's limit", async () => {
  await using it = openPool({ prePing: { timeout: 10 } });
  const { pool, driver } = it;
  await (await pool.acquire()).release();
  driver.made[0].answers.ping = "held";
  const next = watch(pool.acquire());
  await settled();
  driver.made[0].die();
  await settled();
  assert.equal(next.value?.connection.id, 2);
  await next.value!.release();
});

Deno.test("5: a connection that was made for someone who left is pinged before its first use like any other", async () => {
  await using it = openPool({ size: 1, maxOverflow: 0, prePing: true });
  const { pool, driver, advance } = it;
  driver.how = "held";
  const stop = new AbortController();
  const left = watch(pool.acquire({ signal: stop.signal }));
  stop.abort();
  driver.succeed();
  await advance(60);
  assert.ok(left.error && pool.stats.idle === 1);
  driver.how = "at once";
  driver.made[0].answers.ping = new Error("a firewall has forgotten it");
  const lease = await pool.acquire();
  assert.equal(lease.connection.id, 2);
  await lease.release();
});

Deno.test("6: what began to connect before an invalidation is not used after it", async () => {
  for (const soft of [true, false]) {
    await using it = openPool({ size: 1, maxOverflow: 0 });
    const { pool, driver } = it;
    driver.how = "held";
    const waiter = watch(pool.acquire());
    pool.invalidateAll({ soft });
    driver.how = "at once";
    driver.succeed();
    await settled();
    assert.equal(
      waiter.value?.connection.id,
      2,
      "it may have logged in with the old password, at the old server",
    );
    assert.equal(driver.made[0].open, false);
    await waiter.value.release();
  }
});

Deno.test("6: a connection that is invalidated while it is pinged is not handed out", async () => {
  await using it = openPool({ size: 2, maxOverflow: 0, prePing: { timeout: 5 } });
  const { pool, driver } = it;
  await (await pool.acquire()).release();
  driver.made[0].answers.ping = "held";
  const waiter = watch(pool.acquire());
  await settled();
  pool.invalidateAll({ soft: true });
  // Another comes and goes meanwhile, and lies ready.
  await (await pool.acquire()).release();
  driver.made[0].answer();
  await settled();
  assert.equal(waiter.value?.connection.id, 2);
  assert.equal(driver.open, 1);
  await waiter.value.release();
});

Deno.test("6: what becomes of older connections says nothing of the younger", async () => {
  await using it = openPool({ size: 6, prePing: { timeout: 2 } });
  const { pool, driver, advance } = it;
  const old = await Promise.all(Array.from({ length: 4 }, () => pool.acquire()));
  for (const lease of old.slice(2)) await lease.release();
  for (const connection of driver.made) connection.answers.ping = "held";
  const [first, second] = [watch(pool.acquire()), watch(pool.acquire())];
  await settled();
  driver.made[2].answer(new Error("gone"));
  await settled();
  await first.value!.release();
  assert.deepEqual([pool.stats.generation, pool.stats.idle], [1, 1]);
  await advance(2.1);
  old[0].invalidate(new Error("gone"));
  old[1].invalidate(new Error("gone"));
  assert.equal(second.value?.connection.id, 5, "its ping was given up, and the new one was there");
  assert.equal(pool.stats.generation, 1);
  await second.value.release();
});

Deno.test("1: a ping that is cut short by the deadline says nothing of the other connections", async () => {
  await using it = openPool({ size: 2, prePing: { timeout: 10 } });
  const { pool, driver, advance } = it;
  const both = [await pool.acquire(), await pool.acquire()];
  for (const lease of both) await lease.release();
  driver.made[0].answers.ping = "held";
  const waiter = watch(pool.acquire({ timeout: 1 }));
  await advance(1);
  assert.match(String(waiter.error), /no connection within 1 s/);
  assert.deepEqual([pool.stats.idle, pool.stats.generation], [1, 0]);
});

Deno.test("15: signs of life are asked for one by one: all but one are there for whoever comes", async () => {
  await using it = openPool({
    size: 3,
    maxOverflow: 0,
    keepAlive: 30,
    prePing: { idleOver: 1e6, timeout: 5 },
  });
  const { pool, driver, advance } = it;
  const all = await Promise.all([pool.acquire(), pool.acquire(), pool.acquire()]);
  for (const lease of all) await lease.release();
  for (const connection of driver.made) connection.answers.ping = "held";
  await advance(30);
  assert.deepEqual(driver.made.map(({ commands }) => commands.length), [1, 0, 0]);
  const [second, third] = [await pool.acquire(), await pool.acquire()];
  assert.deepEqual([second.connection.id, third.connection.id], [2, 3]);
  await second.release();
  await third.release();
  driver.made[0].answer();
  await advance(29);
  assert.deepEqual(
    driver.made.map(({ commands }) => commands.length),
    [1, 0, 0],
    "those have just been used",
  );
  await advance(1);
  assert.equal(driver.made.filter(({ commands }) => commands.length > 0).length, 2, "the next one's turn");
  for (const connection of driver.made) connection.answer();
  await settled();
});

Deno.test("24: a timer that comes far too late tells that all stood still: each is pinged once, whatever the options", async () => {
  await using it = openPool({ size: 2, idle: 100, recycle: -1, prePing: false });
  const { pool, driver, clock } = it;
  const [a, b] = [await pool.acquire(), await pool.acquire()];
  await a.release();
  clock.advance(90_000);
  await (await pool.acquire()).release();
  clock.freeze(60_000);
  clock.advance(0);
  await settled();
  for (let i = 0; i < 2; i++) await (await pool.acquire()).release();
  await b.release();
  for (let i = 0; i < 2; i++) await (await pool.acquire()).release();
  assert.deepEqual(driver.made.map(({ commands }) => commands), [["ping"], ["ping"]]);
});
