/**
 * Random sequences of acquire, release, abort, kill, failing and hanging drivers, meddling listeners and time passing,
 * against what must hold after every step. SEED=n repeats a run, STEPS=n makes it longer.
 *
 * The model is what the test itself knows: which leases are out, who waits, which sockets the driver has open. It holds
 * the pool to four things: never more sockets than the limit, never one connection in two hands, never a waiter while
 * something is free, nothing unsettled at the end.
 */
import assert from "node:assert/strict";
import { type Lease, NullPool, Pool } from "../../src/pool/mod.ts";
import { type FakeConnection, settled } from "./fake_driver.ts";
import { type Opened, openPool } from "./opened_pool.ts";

const STEPS = Number(Deno.env.get("STEPS") ?? 100_000);
const SEED = Number(Deno.env.get("SEED") ?? (Math.random() * 2 ** 31) | 0);
/** A pool lives for so many steps, then it is closed and the next one begins, with other options. */
const LIFE = 400;
/** Between two connects, whatever went wrong. */
const LONGEST_WAIT_MS = 5_100;

/** mulberry32: a small generator with a seed. */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ state >>> 15, 1 | state);
    t = t + Math.imul(t ^ t >>> 7, 61 | t) ^ t;
    return ((t ^ t >>> 14) >>> 0) / 4_294_967_296;
  };
}

interface Asked {
  readonly number: number;
  readonly stop: AbortController;
  outcome: "waiting" | "served" | "refused";
}

class World {
  readonly leases = new Map<Lease<FakeConnection>, FakeConnection>();
  readonly asked: Asked[] = [];
  /** Leases that are over: using them again must touch nobody. */
  readonly stale: Lease<FakeConnection>[] = [];
  readonly limit: number;
  /** Leases on their way back. */
  releasing = 0;
  readonly it: Opened;
  #numbers = 0;
  constructor(readonly random: () => number) {
    const null_ = this.maybe(0.05);
    const size = this.maybe(0.05) ? 0 : 1 + this.below(4);
    const maxOverflow = this.maybe(0.05) ? -1 : this.below(3);
    this.limit = null_ || size === 0 || maxOverflow < 0 ? Infinity : size + maxOverflow;
    this.it = openPool({
      size,
      maxOverflow,
      timeout: 1 + this.below(20),
      recycle: this.maybe(0.3) ? -1 : this.below(40),
      recycleJitter: this.random(),
      idle: this.maybe(0.6) ? -1 : 3 + this.below(20),
      keepAlive: this.maybe(0.6) ? 0 : 2 + this.below(10),
      overflowLinger: this.maybe(0.7) ? 0 : this.below(5),
      prePing: this.maybe(0.3) ? false : { idleOver: this.below(3), timeout: 1 },
      order: this.maybe(0.5) ? "fifo" : "lifo",
      resetOnReturn: (["rollback", "full", "none"] as const)[this.below(3)],
      leakWarning: this.maybe(0.8) ? 0 : 3,
      maxConnecting: 1 + this.below(4),
      connectTimeout: 5,
      classify: () => (["permanent", "busy", "failover", "other", "other", "other"] as const)[this.below(6)],
      random,
    }, null_ ? NullPool : Pool);
    this.it.driver.prepare = (connection) => {
      if (this.maybe(0.1)) connection.idleTimeout = 10;
    };
    if (this.maybe(0.3)) this.#meddle();
  }

  /** Listeners that use the pool while they are told, and throw. */
  #meddle(): void {
    for (const type of ["connect", "acquire", "release", "invalidate", "close", "error"] as const) {
      this.it.pool.on(type, () => {
        if (this.maybe(0.1)) this.acquire();
        if (this.maybe(0.02)) this.it.pool.invalidateAll({ soft: this.maybe(0.5) });
        if (this.maybe(0.1)) this.pick(this.asked.filter((it) => it.outcome === "waiting"))?.stop.abort();
        if (this.maybe(0.1)) throw new Error("listener");
      });
    }
  }

  below(n: number): number {
    return Math.floor(this.random() * n);
  }

  maybe(probability: number): boolean {
    return this.random() < probability;
  }

  pick<T>(all: readonly T[]): T | undefined {
    return all[this.below(all.length)];
  }

  acquire(): void {
    const asked: Asked = { number: this.#numbers++, stop: new AbortController(), outcome: "waiting" };
    this.asked.push(asked);
    this.it.pool.acquire({ signal: asked.stop.signal }).then((lease) => {
      asked.outcome = "served";
      const { connection } = lease;
      assert.ok(![...this.leases.values()].includes(connection), `connection ${connection.id} in two hands`);
      this.leases.set(lease, connection);
    }, () => asked.outcome = "refused");
  }

  /** What the driver does from now on. */
  mood(): void {
    const { driver } = this.it;
    const { random } = this;
    driver.how = random() < 0.6 ? "at once" : random() < 0.5 ? "held" : new Error("refused");
  }

  trouble(): void {
    const connection = this.pick(this.it.driver.made.filter((it) => it.open));
    if (!connection) return;
    const command = this.pick(["ping", "rollback", "reset", "close"] as const)!;
    connection.answers[command] = this.maybe(0.5)
      ? "held"
      : this.maybe(0.5)
      ? "at once"
      : new Error("broken");
  }

  async step(): Promise<void> {
    const { driver, pool, clock } = this.it;
    const lease = this.pick([...this.leases.keys()]);
    const what = this.below(100);
    if (what < 30) this.acquire();
    else if (what < 55 && lease) this.end(lease, () => lease.release());
    else if (what < 58 && lease) this.end(lease, () => lease.invalidate(new Error("lost")));
    else if (what < 59 && lease) lease.invalidate(undefined, { soft: true });
    else if (what < 60 && lease) this.end(lease, () => lease.detach().destroy());
    else if (what < 63 && lease) this.leases.get(lease)!.inTransaction = true;
    else if (what < 65) this.stray();
    else if (what < 68) this.pick(this.asked.filter((it) => it.outcome === "waiting"))?.stop.abort();
    else if (what < 71) this.pick(driver.made.filter((it) => it.open))?.die();
    else if (what < 75) this.mood();
    else if (what < 79) this.trouble();
    else if (what < 84) {
      driver.attempts.length > 0 && (this.maybe(0.7) ? driver.succeed() : driver.fail(new Error("no")));
    } else if (what < 88) {
      this.pick(driver.made.filter((it) => it.holds > 0))?.answer(
        this.maybe(0.3) ? new Error("late") : undefined,
      );
    } else if (what < 89) pool.invalidateAll({ soft: this.maybe(0.5) });
    else if (what < 91) clock.freeze(this.below(10_000));
    else clock.advance(this.below(4_000));
    // Sometimes the next thing happens before all that follows from this one has.
    if (this.maybe(0.8)) {
      await this.quiet();
      this.check();
    }
  }

  /** What is over is used once more, which must touch nobody. */
  stray(): void {
    const lease = this.pick(this.stale);
    if (this.maybe(0.5)) void lease?.release();
    else lease?.invalidate(new Error("late"), { soft: this.maybe(0.5) });
  }

  /** Lets happen what follows, and what follows from that: listeners that meddle keep things going for a while. */
  async quiet(): Promise<void> {
    let before = "";
    for (let now = this.#picture(); now !== before; now = this.#picture()) {
      before = now;
      await settled();
    }
  }

  #picture(): string {
    const { stats } = this.it.pool;
    return `${stats.totals.acquired} ${stats.totals.released} ${stats.totals.opened} ${stats.totals.aborted} ${
      this.asked.filter((it) => it.outcome === "waiting").length
    } ${stats.waiting} ${stats.connecting} ${stats.closing} ${stats.generation} ${this.it.driver.connects}`;
  }

  end(lease: Lease<FakeConnection>, how: () => unknown): void {
    this.leases.delete(lease);
    this.releasing++;
    Promise.resolve(how()).then(() => this.releasing--);
    this.stale.push(lease);
  }

  /** What must hold whenever nothing is on its way. */
  check(): void {
    const { pool, driver } = this.it;
    const { stats } = pool;
    const waiting = this.asked.filter((it) => it.outcome === "waiting");
    assert.ok(driver.open <= this.limit, `${driver.open} sockets, and the limit is ${this.limit}`);
    assert.ok(
      stats.idle + stats.leased + stats.connecting + stats.closing <= this.limit,
      JSON.stringify(stats),
    );
    // Without a pool, who waits is who connects.
    const asked = pool instanceof NullPool ? stats.connecting : stats.waiting;
    assert.equal(asked, waiting.length, "the pool and the model disagree about who waits");
    const alive = [...this.leases.values()].filter((it) => it.open).length;
    assert.ok(stats.leased >= alive, "a leased connection is not counted");
    const { acquired, released } = stats.totals;
    assert.equal(acquired - released, this.leases.size, "the pool and the model disagree about what is out");
    const pinged = pool.connections.filter((it) => it.state === "leased").length - alive;
    assert.ok(pinged >= 0);
    if (stats.waiting > pinged) assert.equal(stats.idle, 0, "somebody waits while something is free");
    assert.ok(stats.idle >= 0 && stats.closing >= 0 && stats.connecting >= 0);
  }

  /** All give back what they have, the driver does as it is told, and the longest wait between two connects goes by. */
  async calm(): Promise<void> {
    const { driver, clock } = this.it;
    driver.how = "at once";
    driver.prepare = () => {};
    while (driver.attempts.length > 0) driver.succeed();
    for (const connection of driver.made) {
      for (const command of ["ping", "rollback", "reset", "close"] as const) {
        connection.answers[command] = "at once";
      }
      while (connection.holds > 0) connection.answer();
    }
    await this.#giveBack();
    for (let ms = 0; ms < LONGEST_WAIT_MS; ms += 300) {
      clock.advance(300);
      await this.#giveBack();
    }
  }

  async #giveBack(): Promise<void> {
    await this.quiet();
    while (this.leases.size > 0) {
      for (const lease of [...this.leases.keys()]) this.end(lease, () => lease.release());
      await this.quiet();
    }
  }

  /** The end of a pool: everything is settled, and nothing is left. */
  async finish(): Promise<void> {
    const { driver, pool } = this.it;
    await this.calm();
    assert.equal(pool.stats.waiting, 0, "somebody waits though all is free");
    assert.equal(this.releasing, 0, "a release was never answered");
    await this.it[Symbol.asyncDispose]();
    for (const attempt of driver.attempts.splice(0)) attempt.result.reject(new Error("over"));
    await settled();
    assert.deepEqual(this.asked.filter((it) => it.outcome === "waiting"), [], "somebody was never answered");
  }
}

Deno.test(`${STEPS} random steps from seed ${SEED} break no invariant`, async () => {
  const random = generator(SEED);
  let world = new World(random);
  for (let step = 0; step < STEPS; step++) {
    try {
      await world.step();
      if (step % LIFE === LIFE - 1) {
        await world.finish();
        world = new World(random);
      }
    } catch (error) {
      throw new Error(`seed ${SEED}, step ${step}: ${(error as Error).message}`, { cause: error });
    }
  }
  await world.finish();
});
