/**
 * The MySQL side of the gateway: `Sink` over a pool of its own.
 *
 * Each batch is one transaction on one connection, one round trip after another, never pipelined: read the lane's ledger
 * row FOR UPDATE, insert what lies after it, move it, COMMIT. Reading the row first is the fence: a COMMIT of an earlier
 * try that arrives late is waited for, and then seen. Before a try whose outcome is unknown is repeated, its server
 * thread is killed, so that nothing waits for its lock.
 */
import { type Clock, systemClock } from "../clock.ts";
import type { Maintained, Maintenance, Sink, WriteRequest, Written } from "../contracts.ts";
import { BackOffError, messageOf, SluiceError, StallError } from "../errors.ts";
import { type ConnectionPool, NullPool, Pool } from "../pool/mod.ts";
import type { Row } from "../message.ts";
import { AlterationError } from "./alteration.ts";
import { classify, errnoOf, type ErrorClass, isFailover, poolClass } from "./classify.ts";
import { connectMysql, type MysqlConnection, type MysqlSettings, SESSION_IDLE_SEC } from "./connect.ts";
import {
  enterLane,
  holds,
  inspectEngines,
  ledgerError,
  lockLedger,
  moveLedger,
  type Transactional,
} from "./ledger.ts";
import { repairTables } from "./repair.ts";
import { NothingTakenError, Surgery } from "./surgery.ts";
import { maintainTable } from "./upkeep.ts";

export interface MysqlSinkOptions extends MysqlSettings {
  readonly pool?: {
    readonly kind?: "queue" | "null";
    readonly size?: number;
    readonly maxOverflow?: number;
    /** Seconds, as all times here. */
    readonly timeout?: number;
    readonly recycle?: number;
    readonly prePing?: boolean;
    readonly pingTimeout?: number;
    readonly order?: "fifo" | "lifo";
  };
  /** @default true */
  readonly createTables?: boolean;
  /** @default false */
  readonly addColumns?: boolean;
  /** For the partitions of tables that are made. @default the system's */
  readonly clock?: Clock;
}

/**
 * So many deliveries of a lane become dead letters with nothing taken before, between or beside them. It must be more
 * than none: a table may have one sensor only, whose one bad message must not hold up the next. It must be no more than
 * a handful: a table that was changed under us refuses everything. Past it the lane stalls, and looks at each probe
 * whether any row of those that wait, or have come meanwhile, would get in. One that does shows that the others are bad
 * for their own sake, and they all become dead letters: so a sensor that was mended, or another that was well all the
 * time, sets its lane going.
 */
const REFUSED_AMONG_NONE_MAX = 5;
/** How often a transaction that the server has voided is repeated at once, and a table mended. */
const TRIES_MAX = 3;

const PING_IDLE_OVER_SEC = 1;

/** These hold up one lane, the others go on. */
const OF_TABLE: readonly ErrorClass[] = ["schema", "forbidden", "table", "row", "retry"];

const REASONS: Readonly<Partial<Record<ErrorClass, BackOffError["reason"]>>> = {
  lost: "lost",
  auth: "auth",
  state: "readOnly",
  busy: "busy",
};

interface How {
  readonly singly: boolean;
  readonly careful?: boolean;
}

export class MysqlSink implements Sink {
  readonly pool: ConnectionPool<MysqlConnection>;
  readonly #options: MysqlSinkOptions;
  /** Server threads of tries without a known outcome, by lane. */
  readonly #doubtful = new Map<string, { readonly server: string; readonly thread: number }[]>();
  /** By lane, deliveries refused since a row of it was last taken. */
  readonly #refused = new Map<string, number>();
  /** Why the last write failed, where the server answers but takes no rows: a ping must not call that well. */
  #unwritable: BackOffError | undefined;
  /** Lanes whose ledger row is there. */
  readonly #entered = new Set<string>();
  /** By lane, whether its table has transactions, as far as it was there to be looked at. */
  readonly #transactional = new Map<string, boolean>();

  constructor(options: MysqlSinkOptions) {
    this.#options = options;
    const { pool = {} } = options;
    const connect = ({ signal }: { signal: AbortSignal }) => connectMysql({ ...options, signal });
    const { pingTimeout, prePing, kind, ...rest } = pool;
    const common = { connect, ...rest, classify: poolClass };
    this.pool = kind === "null" ? new NullPool(common) : new Pool({
      ...common,
      // Before the server does it.
      idle: SESSION_IDLE_SEC - 10,
      // What answered a moment ago answers now; a socket that the server closed is out of the pool by itself.
      prePing: prePing === false ? false : { timeout: pingTimeout ?? 1, idleOver: PING_IDLE_OVER_SEC },
    });
  }

  /** host:port/database, for people. */
  get address(): string {
    const { host, port, database } = this.#options;
    return `${host}:${port}/${database}`;
  }

  async ping(signal: AbortSignal): Promise<void> {
    try {
      await using lease = await this.pool.acquire({ signal });
      await lease.connection.ping();
    } catch (error) {
      throw this.#explained(error, undefined, undefined);
    }
    if (this.#unwritable) throw this.#unwritable;
  }

  maintain(task: Maintenance, signal: AbortSignal): Promise<Maintained> {
    return maintainTable(this.pool, task, { ...this.#may(), address: this.address, signal });
  }

  async write(request: WriteRequest, signal: AbortSignal): Promise<Written> {
    let connection: MysqlConnection | undefined;
    try {
      await using lease = await this.pool.acquire({ signal });
      connection = lease.connection;
      try {
        const written = await this.#withTables(connection, request);
        this.#unwritable = undefined;
        return written;
      } catch (error) {
        if (!(error instanceof SluiceError) && classify(error, connection.flavour) === "lost") {
          const { server, id } = connection;
          this.#doubtful.set(request.lane, [...this.#doubtful.get(request.lane) ?? [], {
            server,
            thread: id,
          }]);
          lease.invalidate(error);
        }
        throw error;
      }
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      throw this.#explained(error, request.lane, connection);
    }
  }

  /** Makes what is missing, where that is allowed, and tries again. */
  async #withTables(connection: MysqlConnection, request: WriteRequest): Promise<Written> {
    await this.#killDoubtful(connection, request.lane);
    for (let tries = 0;; tries++) {
      try {
        const transactional = await this.#enter(connection, request);
        return await this.#transaction(connection, request, { singly: transactional === false });
      } catch (error) {
        if (error instanceof SluiceError) throw error;
        const kind = classify(error, connection.flavour);
        if (kind !== "lost" && connection.inTransaction) await connection.rollback();
        this.#transactional.delete(request.lane);
        if (tries < TRIES_MAX && kind === "retry") continue;
        const mended = tries < TRIES_MAX && kind === "schema" &&
          await repairTables(connection, request.rows, error, this.#may());
        if (!mended) throw error;
      }
    }
  }

  /** What the gateway may make by itself. */
  #may() {
    const { createTables = true, addColumns = false, clock = systemClock } = this.#options;
    return { createTables, addColumns, nowMs: clock.wallMs() };
  }

  async #enter(connection: MysqlConnection, request: WriteRequest): Promise<Transactional> {
    const { spool, lane } = request;
    const key = `${spool} ${lane}`;
    if (!this.#entered.has(key) && await enterLane(connection, request)) this.#entered.add(key);
    const known = this.#transactional.get(lane) ?? await inspectEngines(connection, lane);
    if (known !== null) this.#transactional.set(lane, known);
    return known;
  }

  async #killDoubtful(connection: MysqlConnection, lane: string): Promise<void> {
    for (const { server, thread } of this.#doubtful.get(lane) ?? []) {
      if (server !== connection.server || thread === connection.id) continue;
      // It may be gone (1094), or another's by now (1095): then there is nothing to fear from it.
      await connection.query(`KILL ${thread}`).catch((error) =>
        errnoOf(error) === null ? Promise.reject(error) : null
      );
    }
    this.#doubtful.delete(lane);
  }

  async #transaction(connection: MysqlConnection, request: WriteRequest, how: How): Promise<Written> {
    const { last, after, rows, previous } = request;
    await connection.begin();
    const upto = await lockLedger(connection, request);
    const wrong = ledgerError(request, upto);
    if (wrong || upto !== null && upto >= last) {
      await connection.rollback();
      if (wrong?.kind === "missing" && previous && await holds(connection, previous)) {
        throw ledgerError(request, upto, true);
      }
      if (wrong) throw wrong;
      return { rows: rows.length, refused: 0 };
    }
    const waiting = upto === null || upto <= after ? rows : rows.filter((row) => row.sequence > upto);
    const surgery = await this.#insert(connection, request, waiting, how);
    // Halfway through, an altered row showed up.
    if (!surgery) return await this.#transaction(connection, request, { ...how, careful: true });
    const { refused } = surgery;
    const left = refused.size === 0 ? rows : rows.filter((row) => !refused.has(row.sequence));
    if (refused.size > 0) await request.park([...refused.values()]);
    // Several rows of one delivery: some may be in that have to go with the one that was refused.
    if (waiting.filter((row) => refused.has(row.sequence)).length > refused.size && !how.singly) {
      await connection.rollback();
      const rest = await this.#transaction(connection, { ...request, rows: left }, how);
      return { rows: rest.rows, refused: rest.refused + refused.size };
    }
    await moveLedger(connection, request);
    await connection.commit();
    return { rows: left.length, refused: refused.size };
  }

  /** Undefined, with everything rolled back: a statement altered what it stored, so each must be taken back by itself. */
  async #insert(
    connection: MysqlConnection,
    { lane, witnesses = [] }: WriteRequest,
    rows: readonly Row[],
    { singly, careful = false }: How,
  ): Promise<Surgery | undefined> {
    const before = this.#refused.get(lane) ?? 0;
    const tolerance = REFUSED_AMONG_NONE_MAX - before;
    const surgery = new Surgery(connection, { tolerance, singly, careful, witnesses });
    try {
      await surgery.insert(rows);
    } catch (error) {
      if (careful || !(error instanceof AlterationError)) throw error;
      await connection.rollback();
      return undefined;
    }
    if (surgery.taken) this.#refused.delete(lane);
    else if (surgery.refused.size > 0) this.#refused.set(lane, before + surgery.refused.size);
    return surgery;
  }

  /** The error as the lane wants it: who waits, why, and what to do. Without a connection, there was none. */
  #explained(error: unknown, lane: string | undefined, connection: MysqlConnection | undefined): unknown {
    if (error instanceof SluiceError) return error;
    const cause = (error as Error)?.cause ?? error;
    const kind = classify(cause, connection?.flavour);
    const errno = errnoOf(cause);
    const text = `${messageOf(cause)}${errno === null ? "" : ` (error ${errno})`}`;
    // What the server says of a statement and we do not know is about this table, until others hear it, too.
    const ofTable = OF_TABLE.includes(kind) || kind === "unknown" && errno !== null;
    if (lane !== undefined && connection && ofTable) {
      return new StallError(`table ${lane} in ${this.address}: ${text}`, {
        lane,
        errno,
        cause: error,
        hint: "`sluice check` says what to change",
        refusesAll: error instanceof NothingTakenError,
      });
    }
    // The next connection may be to another server, or find the same one in better spirits.
    if (kind === "state" || isFailover(cause)) this.pool.invalidateAll();
    const backOff = new BackOffError(`the database ${this.address} does not take rows: ${text}`, {
      errno,
      reason: REASONS[kind] ?? "unknown",
      cause: error,
    });
    if (kind === "state") this.#unwritable = backOff;
    return backOff;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.pool.close();
  }
}

export function openMysqlSink(options: MysqlSinkOptions): MysqlSink {
  return new MysqlSink(options);
}
