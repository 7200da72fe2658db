/**
 * Looks after one table of MySQL: sums up its finished hours, then removes its old rows. `hourly.ts` and `retention.ts`
 * know how; this is the frame that both work in.
 *
 * Each step is short, has a connection of its own for just as long, and waits for nobody's lock longer than a second or
 * two, so that lanes are not held up. An abort cuts the step off; nothing is remembered here, so the next run goes on
 * where the database says that this one ended.
 */
import type { KeptTable, Maintained, Maintenance } from "../contracts.ts";
import { BackOffError, messageOf, SluiceError, StallError } from "../errors.ts";
import type { ConnectionPool } from "../pool/mod.ts";
import { classify, errnoOf, type Flavour } from "./classify.ts";
import { CommandTimeoutError, type MysqlConnection } from "./connect.ts";
import { quote } from "./identifier.ts";
import { lookAfter, openTurn, type Turn } from "../upkeep.ts";
import { openHourly } from "./hourly.ts";
import { factOf, isIndexed, type TableFacts, tableFacts } from "./table_facts.ts";
import { removeOldRows } from "./retention.ts";

export interface UpkeepOptions {
  readonly createTables: boolean;
  /** The database, for people. */
  readonly address: string;
  readonly signal: AbortSignal;
}

/** What `hourly.ts` and `retention.ts` work with. */
export interface Upkeep extends KeptTable, Turn {
  readonly facts: TableFacts;
  readonly time: string;
  readonly nowMs: number;
  readonly createTables: boolean;
  /** Runs a step on a connection of its own; once more where the server asks for that. */
  step<T>(action: (connection: MysqlConnection) => Promise<T>): Promise<T>;
}

const RETRIES_MAX = 3;
/** Sums over an hour and deletes without an index may take long; nobody waits for them. */
export const STEP_TIMEOUT_MS = 10 * 60_000;
/** A clock that is wrong would make all rows look old. */
const CLOCK_AHEAD_MAX_MS = 24 * 3_600_000;

/** Throws `BackOffError` where the database is away, `StallError` where it is about this table, or the signal's reason. */
export async function maintainTable(
  pool: ConnectionPool<MysqlConnection>,
  task: Maintenance,
  options: UpkeepOptions,
): Promise<Maintained> {
  const { signal } = options;
  let flavour: Flavour = "mysql";
  const step: Upkeep["step"] = async (action) => {
    for (let retries = 0;; retries++) {
      try {
        return await inStep(pool, signal, (connection) => (flavour = connection.flavour, action(connection)));
      } catch (error) {
        if (signal.aborted || retries === RETRIES_MAX || classify(error, flavour) !== "retry") throw error;
      }
    }
  };
  try {
    return await maintain(task, options, step);
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    throw explained(error, task.table, options.address, flavour);
  }
}

async function maintain(
  task: Maintenance,
  { createTables, signal }: UpkeepOptions,
  step: Upkeep["step"],
): Promise<Maintained> {
  const { table, design, nowMs, hours } = task;
  const turn = openTurn(signal);
  const { facts, serverMs } = await step(async (connection) => {
    const [{ now }] = await connection.query("SELECT UTC_TIMESTAMP(3) AS now");
    const serverMs = Date.parse(`${String(now).replace(" ", "T")}Z`);
    return { facts: await tableFacts(connection, table), serverMs };
  });
  const time = design.time;
  if (!facts || time === undefined) return { more: false, hours, advice: null };
  assertClock(nowMs, serverMs, table);
  if (!factOf(facts, time)) {
    throw new StallError(`table ${table} has no column ${time}, by which its rows grow old`, { lane: table });
  }
  const upkeep: Upkeep = {
    ...{ table, design, facts, time, nowMs, createTables, step },
    ...turn,
  };
  const advice = isIndexed(facts, time)
    ? null
    : `table ${table} has no index that begins with ${time}: all of it is ` +
      `read to find what is too old or belongs to an hour (ALTER TABLE ${quote(table)} ADD KEY (${
        quote(time)
      }))`;
  const hourly = design.hourly ? await openHourly(upkeep) : undefined;
  const removeBefore = (cutoffMs: number) => removeOldRows(upkeep, cutoffMs);
  return { ...await lookAfter({ hourly, removeBefore }, task, upkeep), advice };
}

function assertClock(nowMs: number, serverMs: number, table: string): void {
  if (nowMs <= serverMs + CLOCK_AHEAD_MAX_MS) return;
  const text = (ms: number) => new Date(ms).toISOString().slice(0, 16).replace("T", " ");
  throw new StallError(
    `this machine's clock says ${text(nowMs)} UTC, the database's ${
      text(serverMs)
    }: nothing is removed from ${table}`,
    { lane: table, hint: "set the clock that is wrong" },
  );
}

/** Runs an action on a connection that is its own for as long; an abort destroys the connection. */
async function inStep<T>(
  pool: ConnectionPool<MysqlConnection>,
  signal: AbortSignal,
  action: (connection: MysqlConnection) => Promise<T>,
): Promise<T> {
  let left: MysqlConnection | undefined;
  try {
    await using lease = await pool.acquire({ signal });
    const { connection } = lease;
    const cut = () => lease.invalidate(signal.reason);
    signal.addEventListener("abort", cut, { once: true });
    try {
      return await action(connection);
    } catch (error) {
      if (error instanceof CommandTimeoutError) left = connection;
      if (classify(error, connection.flavour) === "lost") lease.invalidate(error);
      throw error;
    } finally {
      signal.removeEventListener("abort", cut);
    }
  } catch (error) {
    if (left) await killLeft(pool, left, signal).catch(() => {});
    throw error;
  }
}

/** The server goes on with a statement whose client has gone; the next run would start another beside it. */
async function killLeft(
  pool: ConnectionPool<MysqlConnection>,
  { id, server }: MysqlConnection,
  signal: AbortSignal,
): Promise<void> {
  await using lease = await pool.acquire({ signal });
  if (lease.connection.server === server) await lease.connection.query(`KILL ${id}`);
}

function explained(error: unknown, table: string, address: string, flavour: Flavour): unknown {
  if (error instanceof SluiceError) return error;
  const cause = (error as Error)?.cause ?? error;
  const errno = errnoOf(cause);
  const text = `${messageOf(cause)}${errno === null ? "" : ` (error ${errno})`}`;
  if (errno === null || ["lost", "busy", "auth", "state"].includes(classify(cause, flavour))) {
    return new BackOffError(`the database ${address} cannot be looked after: ${text}`, {
      errno,
      cause: error,
    });
  }
  return new StallError(`table ${table} in ${address} cannot be looked after: ${text}`, {
    lane: table,
    errno,
    cause: error,
  });
}
