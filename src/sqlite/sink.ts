/**
 * The embedded database: `Sink` over one SQLite file, with the same ledger in the same transaction as the MySQL side.
 *
 * One batch at a time: SQLite has one writer. Each write is begin, insert, park what is refused, commit.
 */
import type { Maintained, Maintenance, Sink, WriteRequest, Written } from "../contracts.ts";
import { BackOffError, LedgerError, SluiceError, StallError } from "../errors.ts";
import type { SqlValue } from "../message.ts";
import { maintainTable, type SqlResult } from "./upkeep.ts";
import { type SqliteReply, type SqliteRequest, startWorker } from "./worker.ts";

export interface SqliteSinkOptions {
  readonly path: string;
  /** @default true */
  readonly createTables?: boolean;
  /** @default false */
  readonly addColumns?: boolean;
}

/** A statement that does not fit the tables, as of a trigger that lacks its own. */
const SQL_ERROR = 1;

class RequestError extends Error {
  constructor(readonly reply: Extract<SqliteReply, { ok: false }>) {
    super(reply.message);
  }
}

export class SqliteSink implements Sink {
  readonly address: string;
  readonly #options: SqliteSinkOptions;
  readonly #worker = startWorker();
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  #lastId = 0;
  #opened: Promise<unknown> | undefined;
  /** The write in hand; the next one waits for it. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: SqliteSinkOptions) {
    this.#options = options;
    this.address = options.path;
    this.#worker.onmessage = ({ data: { id, reply } }: MessageEvent<{ id: number; reply: SqliteReply }>) => {
      const call = this.#waiting.get(id)!;
      this.#waiting.delete(id);
      if (reply.ok) call.resolve(reply.value);
      else call.reject(new RequestError(reply));
    };
  }

  #call<T>(request: SqliteRequest): Promise<T> {
    const call = Promise.withResolvers<unknown>();
    const id = ++this.#lastId;
    this.#waiting.set(id, call);
    this.#worker.postMessage({ id, request });
    return call.promise as Promise<T>;
  }

  async #open(): Promise<void> {
    const { path, createTables = true, addColumns = false } = this.#options;
    this.#opened ??= this.#call({ op: "open", path, createTables, addColumns });
    try {
      await this.#opened;
    } catch (error) {
      this.#opened = undefined;
      throw error;
    }
  }

  async ping(): Promise<void> {
    try {
      await this.#open();
    } catch (error) {
      throw this.#explained(error, undefined);
    }
  }

  write(request: WriteRequest, signal: AbortSignal): Promise<Written> {
    return this.#inTurn(signal, async () => {
      try {
        return await this.#transaction(request);
      } catch (error) {
        await this.#call({ op: "rollback" }).catch(() => {});
        throw this.#explained(error, request.lane);
      }
    }, request.lane);
  }

  maintain(task: Maintenance, signal: AbortSignal): Promise<Maintained> {
    const run = (sql: string, values: readonly SqlValue[] = []) =>
      this.#inTurn(signal, () => this.#call<SqlResult>({ op: "run", sql, values }), task.table);
    return maintainTable(task, { run, createTables: this.#options.createTables ?? true, signal });
  }

  /** Waits until whoever has the database is done with it. */
  async #inTurn<T>(signal: AbortSignal, action: () => Promise<T>, lane: string): Promise<T> {
    const before = this.#turn;
    const turn = Promise.withResolvers<void>();
    this.#turn = turn.promise;
    try {
      await before;
      signal.throwIfAborted();
      await this.#open();
      return await action();
    } catch (error) {
      throw error instanceof SluiceError ? error : this.#explained(error, lane);
    } finally {
      turn.resolve();
    }
  }

  async #transaction(
    { spool, lane, after, last, highest, adopt, rows, park }: WriteRequest,
  ): Promise<Written> {
    const upto = await this.#call<number | null>({ op: "begin", spool, lane });
    if (upto !== null && upto > highest) {
      throw new LedgerError(`the ledger of ${lane} says ${upto}, more than was ever written`, {
        kind: "ahead",
        upto,
      });
    }
    if (!adopt && upto === null && after > 0) {
      throw new LedgerError(`the ledger has no row for ${lane}`, { kind: "missing", upto: 0 });
    }
    if (!adopt && upto !== null && upto < after) {
      throw new LedgerError(`the ledger of ${lane} went back`, { kind: "behind", upto });
    }
    if (upto !== null && upto >= last) {
      await this.#call({ op: "rollback" });
      return { rows: rows.length, refused: 0 };
    }
    const waiting = upto === null ? rows : rows.filter((row) => row.sequence > upto);
    const refused = await this.#call<{ sequence: number; reason: string; errno: number }[]>({
      op: "insert",
      rows: waiting,
    });
    if (refused.length > 0) {
      const several = new Set(waiting.map((row) => row.sequence)).size < waiting.length;
      await park(refused);
      if (several) {
        // A delivery with several rows stands or falls as a whole: begin again without it.
        await this.#call({ op: "rollback" });
        const gone = new Set(refused.map((it) => it.sequence));
        const rest = await this.#transaction({
          spool,
          lane,
          after,
          last,
          highest,
          adopt,
          park,
          rows: rows.filter((it) => !gone.has(it.sequence)),
        });
        return { rows: rest.rows, refused: rest.refused + gone.size };
      }
    }
    await this.#call({ op: "commit", spool, lane, last });
    return { rows: rows.length - refused.length, refused: refused.length };
  }

  #explained(error: unknown, lane: string | undefined): unknown {
    if (!(error instanceof RequestError)) return error;
    const { kind, message, errno } = error.reply;
    if (lane !== undefined && (kind === "schema" || errno === SQL_ERROR)) {
      return new StallError(`${message} in ${this.address}`, { lane, errno, cause: error });
    }
    return new BackOffError(`the database ${this.address} does not take rows: ${message}`, {
      errno,
      cause: error,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#turn;
    if (this.#opened) await this.#call({ op: "close" }).catch(() => {});
    this.#worker.terminate();
  }
}

export function openSqliteSink(options: SqliteSinkOptions): SqliteSink {
  return new SqliteSink(options);
}
