/**
 * Acquire and release on a connection that does nothing: this pool beside mysql2's, mariadb's, tarn and generic-pool,
 * in one run on one machine. `deno task bench:pool`; prints a Markdown table, times relative to this pool.
 *
 * Each candidate is measured in rounds that alternate with all others, and the median round counts, so that a noisy
 * machine disturbs all alike. Each has a thread of its own, since some touch what the engine shares: with tarn or
 * generic-pool in the same thread, everybody's promises are slower by half. Connections are stubs: what is measured is
 * the pool. mysql2's and mariadb's make their own connections, so they get real ones to a scripted server that only
 * shakes hands. Each is driven in the cheapest way that its interface has, and a release is not waited for.
 */
import { createPool as createGenericPool } from "npm:generic-pool@3.9.0";
import { createPool as createMariadbPool } from "npm:mariadb@3.4.5";
import { createPool as createMysqlPool } from "mysql2";
import { createPool as createMysqlPromisePool } from "npm:mysql2@3.24.6/promise";
import { Pool as TarnPool } from "npm:tarn@3.0.2";
import { Pool, type Poolable } from "../../src/pool/mod.ts";
import { startFakeMysql } from "../servers/fake_mysql.ts";

const ROUNDS = Number(Deno.env.get("ROUNDS") ?? 15);
const CYCLES = 50_000;
/** Rounds that are not counted: a pool is used for days, so its code is compiled. */
const WARM_UP = 20;
const TAKERS = 64;
const CONNECTIONS = 5;
/** The name of a thread that measures. */
const THREAD = "candidate";

interface Candidate {
  readonly name: string;
  /** Takes a connection and gives it back. */
  cycle(): Promise<void>;
  end(): unknown;
}

/** What follows an acquire where the connection, or the lease, can be given back by itself. */
const release = (taken: { release(): unknown }) => void taken.release();

class Idle implements Poolable {
  readonly inTransaction = false;
  readonly inFlight = 0;
  readonly closed = new Promise<undefined>(() => {});
  ping = () => Promise.resolve();
  rollback = () => Promise.resolve();
  reset = () => Promise.resolve();
  close = () => Promise.resolve();
  destroy() {}
}

function ours(): Candidate {
  const pool = new Pool({
    connect: () => Promise.resolve(new Idle()),
    size: CONNECTIONS,
    maxOverflow: 0,
    prePing: false,
  });
  return {
    name: "Sluice",
    cycle: () => pool.acquire().then(release),
    end: () => pool.close(),
  };
}

function tarn(): Candidate {
  const pool = new TarnPool({
    create: () => Promise.resolve(new Idle()),
    destroy: () => {},
    min: 0,
    max: CONNECTIONS,
  });
  return {
    name: "tarn 3.0.2",
    cycle: () => pool.acquire().promise.then((connection) => void pool.release(connection)),
    end: () => pool.destroy(),
  };
}

function generic(): Candidate {
  const pool = createGenericPool({
    create: () => Promise.resolve(new Idle()),
    destroy: () => Promise.resolve(),
  }, { max: CONNECTIONS });
  return {
    name: "generic-pool 3.9.0",
    cycle: () => pool.acquire().then((connection) => void pool.release(connection)),
    end: () => pool.drain().then(() => pool.clear()),
  };
}

function mysql2(port: number): Candidate {
  const pool = createMysqlPool({ host: "127.0.0.1", port, user: "bench", connectionLimit: CONNECTIONS });
  return {
    name: "mysql2 3.24.6, callbacks",
    cycle: () =>
      new Promise((resolve, reject) => {
        pool.getConnection((error, connection) => {
          if (error) return reject(error);
          connection.release();
          resolve();
        });
      }),
    end: () => new Promise((resolve) => pool.end(resolve)),
  };
}

function mysql2Promise(port: number): Candidate {
  const pool = createMysqlPromisePool({
    host: "127.0.0.1",
    port,
    user: "bench",
    connectionLimit: CONNECTIONS,
  });
  return {
    name: "mysql2 3.24.6, promises",
    cycle: () => pool.getConnection().then(release),
    end: () => pool.end(),
  };
}

function mariadb(port: number): Candidate {
  // Without its ping before use and its rollback after it: nothing is sent by any of the five.
  const pool = createMariadbPool({
    host: "127.0.0.1",
    port,
    user: "bench",
    connectionLimit: CONNECTIONS,
    minDelayValidation: 3_600_000,
    noControlAfterUse: true,
  });
  return {
    name: "mariadb 3.4.5",
    cycle: () => pool.getConnection().then(release),
    end: () => pool.end(),
  };
}

/** Nanoseconds for one cycle. */
async function uncontended({ cycle }: Candidate): Promise<number> {
  const begin = performance.now();
  for (let i = 0; i < CYCLES; i++) await cycle();
  return (performance.now() - begin) * 1e6 / CYCLES;
}

async function contended({ cycle }: Candidate): Promise<number> {
  const begin = performance.now();
  await Promise.all(Array.from({ length: TAKERS }, async () => {
    for (let i = 0; i < CYCLES / TAKERS; i++) await cycle();
  }));
  return (performance.now() - begin) * 1e6 / CYCLES;
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
}

const CANDIDATES: Readonly<Record<string, (port: number) => Candidate>> = {
  ours,
  mysql2,
  mysql2Promise,
  mariadb,
  tarn,
  generic,
};

interface Times {
  readonly name: string;
  readonly alone: number;
  readonly crowd: number;
}

/** In a thread: measures one candidate, a round for each message, and ends it on "end". */
function serve(): void {
  // deno-lint-ignore no-explicit-any -- a worker's globals are not in the types of the program
  const thread = globalThis as any;
  let candidate: Candidate;
  thread.onmessage = async (
    { data }: MessageEvent<{ candidate: string; port: number } | "round" | "end">,
  ) => {
    if (data === "round") {
      const { name } = candidate;
      // A thread that lay idle has a cold cache and a small heap.
      await uncontended(candidate);
      thread.postMessage({ name, alone: await uncontended(candidate), crowd: await contended(candidate) });
    } else if (data === "end") {
      await candidate.end();
      thread.postMessage("ended");
    } else candidate = CANDIDATES[data.candidate](data.port);
  };
}

/** The answer of a thread to what it is told. */
function ask<T>(thread: Worker, message: unknown): Promise<T> {
  return new Promise((resolve, reject) => {
    thread.onmessage = ({ data }) => resolve(data);
    thread.onerror = reject;
    thread.postMessage(message);
  });
}

/** For each candidate the median of the rounds: alone, and with 64 takers. */
export async function measurePools(rounds = ROUNDS): Promise<Times[]> {
  await using server = await startFakeMysql();
  const threads = Object.keys(CANDIDATES).map((candidate) => {
    const thread = new Worker(import.meta.url, { type: "module", name: THREAD });
    thread.postMessage({ candidate, port: server.port });
    return { thread, times: [] as Times[] };
  });
  for (let round = -WARM_UP; round < rounds; round++) {
    for (const { thread, times } of threads) {
      const measured = await ask<Times>(thread, "round");
      if (round >= 0) times.push(measured);
    }
  }
  for (const { thread } of threads) {
    await ask(thread, "end");
    thread.terminate();
  }
  return threads.map(({ times }) => ({
    name: times[0].name,
    alone: median(times.map((it) => it.alone)),
    crowd: median(times.map((it) => it.crowd)),
  }));
}

if (globalThis.name === THREAD) serve();
else if (import.meta.main) {
  const all = await measurePools();
  const [us] = all;
  console.log(`| pool | acquire and release, alone | ${TAKERS} takers, ${CONNECTIONS} connections |`);
  console.log("|---|--:|--:|");
  for (const { name, alone, crowd } of all) {
    const cell = (ns: number, own: number) => `${Math.round(ns)} ns (${(ns / own).toFixed(2)} x)`;
    console.log(`| ${name} | ${cell(alone, us.alone)} | ${cell(crowd, us.crowd)} |`);
  }
}
