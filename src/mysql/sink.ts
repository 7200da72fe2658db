/**
 * The MySQL side of the gateway: `Sink` over a pool of its own.
 *
 * Each batch is one transaction on one connection, one round trip after another, never pipelined: read the lane's ledger
 * row FOR UPDATE, insert what lies after it, move it, COMMIT. Reading the row first is the fence: a COMMIT of an earlier
 * try that arrives late is waited for, and then seen. Before a try whose outcome is unknown is repeated, its server
 * thread is killed, so that nothing waits for its lock.
 */
import { type Clock, systemClock } from "../clock.ts";
import type { Maintained, Maintenance, Refused, Sink, WriteRequest, Written } from "../contracts.ts";
import { BackOffError, LedgerError, messageOf, SluiceError, StallError } from "../errors.ts";
import { type ConnectionPool, NullPool, Pool } from "../pool/mod.ts";
import type { Row } from "../message.ts";
import { classify, errnoOf, type ErrorClass, isFailover, poolClass } from "./classify.ts";
import { connectMysql, type MysqlConnection, type MysqlSettings, SESSION_IDLE_SEC } from "./connect.ts";
import { repairTables } from "./repair.ts";
import { insertOrRefuse } from "./surgery.ts";
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

/** So many deliveries refused one after another, with one number and nothing stored between, are the table's fault. */
const REFUSED_IN_A_ROW_MAX = 50;

const PING_IDLE_OVER_SEC = 1;

/** These hold up one lane, the others go on. */
const OF_TABLE: readonly ErrorClass[] = ["schema", "forbidden", "table", "row"];

const REASONS: Readonly<Partial<Record<ErrorClass, BackOffError["reason"]>>> = {
  lost: "lost",
  auth: "auth",
  state: "readOnly",
  busy: "busy",
  retry: "busy",
};

export class MysqlSink implements Sink {
  readonly pool: ConnectionPool<MysqlConnection>;
  readonly #options: MysqlSinkOptions;
  /** Server threads of tries without a known outcome, by lane. */
  readonly #doubtful = new Map<string, { readonly server: string; readonly thread: number }[]>();
  readonly #refusedInARow = new Map<string, { errno: number; count: number }>();
  /** Why the last write failed, where the server answers but takes no rows: a ping must not call that well. */
  #unwritable: BackOffError | undefined;
  /** Lanes whose ledger row is there. */
  readonly #entered = new Set<string>();

  constructor(options: MysqlSinkOptions) {
    this.#options = options;
    const { pool = {} } = options;
    const connect = ({ signal }: { signal: AbortSignal }) => connectMysql(options, { signal });
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

  /** Makes what is missing, where that is allowed, and tries again. DDL commits by itself, so it is no part of the transaction. */
  async #withTables(connection: MysqlConnection, request: WriteRequest): Promise<Written> {
    await this.#killDoubtful(connection, request.lane);
    for (let repairs = 0;; repairs++) {
      try {
        await this.#enter(connection, request);
        return await this.#transaction(connection, request);
      } catch (error) {
        if (error instanceof SluiceError) throw error;
        const kind = classify(error, connection.flavour);
        if (kind !== "lost" && connection.inTransaction) await connection.rollback();
        if (repairs < 3 && kind === "retry") continue;
        if (
          repairs < 3 && kind === "schema" && await repairTables(connection, request.rows, error, this.#may())
        ) continue;
        throw error;
      }
    }
  }

  /** What the gateway may make by itself. */
  #may() {
    const { createTables = true, addColumns = false, clock = systemClock } = this.#options;
    return { createTables, addColumns, nowMs: clock.wallMs() };
  }

  /** Makes the row of a new lane beforehand: to lock one that is not there locks the gap, and new lanes would deadlock. */
  async #enter(
    connection: MysqlConnection,
    { spool, lane, after, adopt = false }: WriteRequest,
  ): Promise<void> {
    const key = `${spool} ${lane}`;
    if (this.#entered.has(key)) return;
    const of = [spool, lane];
    const [entry] = await connection.execute("SELECT 1 FROM sluice_ledger WHERE spool = ? AND lane = ?", of);
    if (entry === undefined) {
      // An old lane's missing row is not made up here: the transaction tells of it.
      if (after > 0 && !adopt) return;
      await connection.execute("INSERT IGNORE INTO sluice_ledger (spool, lane, upto) VALUES (?, ?, ?)", [
        ...of,
        String(after),
      ]);
    }
    this.#entered.add(key);
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

  async #transaction(connection: MysqlConnection, request: WriteRequest): Promise<Written> {
    const { spool, lane, last, rows, park } = request;
    await connection.begin();
    const [entry] = await connection.execute(
      "SELECT upto FROM sluice_ledger WHERE spool = ? AND lane = ? FOR UPDATE",
      [spool, lane],
    );
    const upto = entry === undefined ? null : Number(entry.upto);
    const ledgerError = this.#ledgerError(request, upto);
    if (ledgerError) {
      await connection.rollback();
      throw ledgerError;
    }
    if (upto !== null && upto >= last) {
      await connection.rollback();
      return { rows: rows.length, refused: 0 };
    }
    const refused = new Map<number, Refused>();
    const waiting = upto === null || upto <= request.after ? rows : rows.filter((row) => row.sequence > upto);
    await insertOrRefuse(connection, waiting, refused);
    // Several shapes: a delivery refused in a later one takes its rows in the earlier ones with it.
    if (
      refused.size > 0 && waiting.some((row) => refused.has(row.sequence) && row.shape !== waiting[0].shape)
    ) {
      await connection.rollback();
      this.#countRefused(request, refused, waiting);
      await park([...refused.values()]);
      const rest = await this.#transaction(connection, {
        ...request,
        rows: rows.filter((row) => !refused.has(row.sequence)),
      });
      return { rows: rest.rows, refused: rest.refused + refused.size };
    }
    if (refused.size > 0) {
      this.#countRefused(request, refused, waiting);
      await park([...refused.values()]);
    } else if (waiting.length > 0) this.#refusedInARow.delete(lane);
    await connection.execute(
      "INSERT INTO sluice_ledger (spool, lane, upto) VALUES (?, ?, ?) ON DUPLICATE KEY UPDATE upto = VALUES(upto)",
      [spool, lane, String(last)],
    );
    await connection.commit();
    return { rows: rows.filter((row) => !refused.has(row.sequence)).length, refused: refused.size };
  }

  #ledgerError(
    { lane, after, highest, adopt = false }: WriteRequest,
    upto: number | null,
  ): LedgerError | null {
    if (upto !== null && upto > highest) {
      return new LedgerError(`the ledger of ${lane} says ${upto}, more than was ever written (${highest})`, {
        kind: "ahead",
        upto,
      });
    }
    if (adopt) return null;
    if (upto === null && after > 0) {
      return new LedgerError(`the ledger has no row for ${lane}, which stands at ${after}`, {
        kind: "missing",
        upto: 0,
      });
    }
    if (upto !== null && upto < after) {
      return new LedgerError(`the ledger of ${lane} says ${upto}, not ${after}`, { kind: "behind", upto });
    }
    return null;
  }

  /** When everything is refused alike, it is the table: throws before anything is parked. */
  #countRefused({ lane }: WriteRequest, refused: ReadonlyMap<number, Refused>, rows: readonly Row[]): void {
    const [{ errno, reason }] = refused.values();
    const all = [...refused.values()].every((it) => it.errno === errno) &&
      rows.every((row) => refused.has(row.sequence));
    if (!all) return void this.#refusedInARow.delete(lane);
    const known = this.#refusedInARow.get(lane);
    const count = (known?.errno === errno ? known.count : 0) + refused.size;
    this.#refusedInARow.set(lane, { errno, count });
    if (count > REFUSED_IN_A_ROW_MAX) {
      throw new StallError(`table ${lane} in ${this.address} refuses every row: ${reason} (error ${errno})`, {
        lane,
        errno,
        hint: "the table has probably changed: `sluice check` compares it with the route",
      });
    }
  }

  /** The error as the lane wants it: who waits, why, and what to do. Without a connection, there was none. */
  #explained(error: unknown, lane: string | undefined, connection: MysqlConnection | undefined): unknown {
    if (error instanceof SluiceError) return error;
    const cause = (error as Error)?.cause ?? error;
    const kind = classify(cause, connection?.flavour ?? "mysql");
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
      });
    }
    if (isFailover(cause)) this.pool.invalidateAll();
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
