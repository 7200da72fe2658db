/**
 * A pool on a fake driver and a clock that stands still, closed at the end of the test; nothing may be left then.
 */
import assert from "node:assert/strict";
import { type ConnectionPool, Pool, type PoolOptions } from "../../src/pool/mod.ts";
import { ManualClock } from "../mqtt/manual_clock.ts";
import { type FakeConnection, FakeDriver, settled } from "./fake_driver.ts";

export interface Opened extends AsyncDisposable {
  readonly pool: ConnectionPool<FakeConnection>;
  readonly driver: FakeDriver;
  readonly clock: ManualClock;
  /** Moves the clock on, and lets happen what follows. */
  advance(seconds: number): Promise<void>;
}

export function openPool(
  options: Partial<PoolOptions<FakeConnection>> = {},
  Kind: new (options: PoolOptions<FakeConnection>) => ConnectionPool<FakeConnection> = Pool,
): Opened {
  const driver = new FakeDriver();
  const clock = new ManualClock();
  const pool = new Kind({
    connect: driver.connect,
    clock,
    random: () => 0,
    prePing: false,
    ...options,
  });
  const advance = async (seconds: number) => {
    await settled();
    clock.advance(seconds * 1_000);
    await settled();
  };
  return {
    pool,
    driver,
    clock,
    advance,
    async [Symbol.asyncDispose]() {
      const end = pool.close({ drain: 0 });
      for (let i = 0; i < 5; i++) await advance(10);
      await end;
      assert.equal(driver.open, 0, "a socket was left open");
      assert.equal(clock.waiting, 0, "a timer was left");
    },
  };
}
