/**
 * A driver that throws from any callback, at any time, and listeners that throw or call the pool themselves.
 */
import assert from "node:assert/strict";
import { ConnectionLostError, type PoolEventType, type PoolOptions } from "../../src/pool/mod.ts";
import { type FakeConnection, settled, watch } from "./fake_driver.ts";
import { openPool } from "./opened_pool.ts";

const boom = () => {
  throw new TypeError("x is not a function");
};
const throwing = (name: string) => (connection: FakeConnection) =>
  Object.defineProperty(connection, name, { get: boom, configurable: true });
const answers = (name: "ping" | "rollback" | "reset" | "close") => (connection: FakeConnection) => {
  connection.inTransaction = true;
  connection.answers[name] = boom;
};

/** What is wrong with each connection that is made while it lasts. */
const WRONGS: Readonly<Record<string, (connection: FakeConnection) => unknown>> = {
  ...Object.fromEntries(
    [
      "id",
      "server",
      "closed",
      "idleTimeout",
      "inFlight",
      "inTransaction",
      "ping",
      "rollback",
      "reset",
      "close",
      "destroy",
    ]
      .map((name) => [`reading ${name}`, throwing(name)]),
  ),
  "ping throws": answers("ping"),
  "rollback throws": answers("rollback"),
  "reset throws": answers("reset"),
  "close throws": answers("close"),
  "closed is no promise": (it) => Object.defineProperty(it, "closed", { value: 5 }),
  "closed rejects": (it) =>
    Object.defineProperty(it, "closed", { value: Promise.reject(new Error("closed")) }),
  "ping answers with something odd": (it) => void (it.answers.ping = () => Promise.resolve({ then: boom })),
};

Deno.test("25: a driver that throws from any callback at any time never breaks the pool", async (t) => {
  for (const [name, spoil] of Object.entries(WRONGS)) {
    for (const resetOnReturn of ["rollback", "full"] as const) {
      await t.step(`${name}, with resetOnReturn ${resetOnReturn}`, async () => {
        await using it = openPool({
          size: 2,
          maxOverflow: 1,
          timeout: 60,
          prePing: true,
          keepAlive: 3,
          resetOnReturn,
          classify: boom,
        });
        const { pool, driver, advance } = it;
        for (
          const type of ["connect", "acquire", "release", "reset", "invalidate", "close", "error"] as const
        ) {
          pool.on(type, boom);
        }
        driver.destroyThrows = true;
        driver.prepare = spoil;
        for (let i = 0; i < 3; i++) {
          const leases = [1, 2, 3, 4].map(() => watch(pool.acquire()));
          // Four for three places: the last has its turn when another comes back.
          for (let turn = 0; turn < 2; turn++) {
            await advance(6);
            for (const { value } of leases) void value?.release();
          }
          await advance(6);
          const lost = watch(pool.acquire());
          await advance(6);
          lost.value?.invalidate(new Error("mine"));
        }
        driver.prepare = () => {};
        pool.invalidateAll();
        await advance(60);
        const good = [1, 2, 3].map(() => watch(pool.acquire()));
        await advance(6);
        const { leased, connecting, closing, waiting } = pool.stats;
        assert.deepEqual([leased, connecting, closing, waiting], [3, 0, 0, 0], "as good as new");
        for (const { value } of good) await value!.release();
        assert.equal(pool.stats.idle, 2);
        // Those that could not be destroyed are the driver's to answer for.
        for (const connection of driver.made) connection.die();
      });
    }
  }
});

Deno.test("25: a listener may use the pool while it is told", async () => {
  const types: PoolEventType[] = ["connect", "acquire", "release", "invalidate", "close", "error"];
  for (const type of types) {
    await using it = openPool({ size: 2, maxOverflow: 1, timeout: 5, recycle: 10 });
    const { pool, driver, advance } = it;
    let calls = 0;
    pool.on(type, () => {
      if (++calls > 20) return;
      pool.invalidateAll({ soft: calls % 2 === 0 });
      pool.acquire().then((lease) => calls % 3 ? lease.release() : lease.invalidate(), () => {});
    });
    for (let i = 0; i < 10; i++) {
      driver.how = i === 5 ? new Error("refused") : "at once";
      const leases = [1, 2, 3].map(() => watch(pool.acquire()));
      await advance(1);
      for (const { value } of leases) void (i % 2 ? value?.release() : value?.invalidate(new Error("lost")));
      await advance(3);
    }
    assert.ok(calls > 0, type);
    assert.ok(driver.openMax <= 3, `${type}: ${driver.openMax} sockets`);
    await advance(30);
    assert.equal(pool.stats.waiting, 0);
  }
});

Deno.test("25: a listener may close the pool while it is told", async () => {
  for (const type of ["connect", "acquire", "release", "invalidate", "close"] as const) {
    await using it = openPool({ size: 1, maxOverflow: 1 });
    const { pool, advance } = it;
    pool.on(type, () => void pool.close({ drain: 0 }));
    const leases = [1, 2, 3].map(() => watch(pool.acquire()));
    await advance(1);
    void leases[0].value?.release();
    leases[1].value?.invalidate(new Error("lost"));
    await advance(1);
    assert.ok(leases.every(({ done }) => done), `${type}: somebody was never answered`);
  }
});

Deno.test("19: the pool repeats nothing: what fails in use() is called once and told as it is", async () => {
  await using it = openPool({ size: 1, maxOverflow: 0 });
  const error = new ConnectionLostError("gone", false);
  let calls = 0;
  await assert.rejects(
    it.pool.use((connection) => {
      calls++;
      connection.die(error);
      return Promise.reject(error);
    }),
    (it) => it === error,
  );
  assert.equal(calls, 1);
  assert.deepEqual([it.pool.stats.idle, it.pool.stats.totals.closed.dead], [0, 1]);
});

Deno.test("20: a failover that use() meets takes the older connections with it", async () => {
  const classify: PoolOptions<FakeConnection>["classify"] = (error) =>
    (error as Error).message === "read-only" ? "failover" : "other";
  await using it = openPool({ size: 3, classify });
  const { pool, driver } = it;
  const leases = [await pool.acquire(), await pool.acquire(), await pool.acquire()];
  for (const lease of leases.slice(1)) await lease.release();
  await assert.rejects(pool.use(() => Promise.reject(new Error("duplicate key"))), /duplicate key/);
  assert.equal(driver.open, 3, "an error of the statement leaves all as it is");
  await assert.rejects(pool.use(() => Promise.reject(new Error("read-only"))), /read-only/);
  assert.deepEqual([driver.open, pool.stats.idle, pool.stats.generation], [1, 0, 1]);
  await leases[0].release();
  await settled();
  assert.equal(driver.open, 0);
});
