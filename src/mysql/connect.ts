/**
 * One connection to MySQL or MariaDB over mysql2, as the pool and the sink need it: with a limit on every command, a
 * `destroy` that destroys, strict SQL, UTC and utf8mb4, and the server's own limits read once.
 *
 * mysql2 alone leaves a timed-out command in the way of the next one, its `ping` waits for ever, and its `destroy`
 * only says goodbye to a peer that may not listen.
 */
import mysql from "mysql2";
import { ConnectionLostError, type Poolable } from "../pool/mod.ts";
import type { Flavour } from "./classify.ts";

export interface MysqlSettings {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly database: string;
  /** Asked for at each connect. */
  readonly password?: () => Promise<string | undefined>;
  readonly tls?: {
    readonly ca?: string;
    readonly cert?: string;
    readonly key?: string;
    readonly verify?: boolean;
  };
  /** For connecting and logging in together. @default 10000 */
  readonly connectTimeoutMs?: number;
  /** For each command. @default 30000 */
  readonly commandTimeoutMs?: number;
}

/** A command got no answer in time; its outcome is unknown. */
export class CommandTimeoutError extends Error {
  readonly code = "ETIMEDOUT";
  readonly fatal = true;
}

const SESSION = [
  "sql_mode = 'STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'",
  "time_zone = '+00:00'",
  "innodb_lock_wait_timeout = 5",
].join(", ");

// deno-lint-ignore no-explicit-any -- mysql2's own types leave out what is used here
type Raw = any;

export class MysqlConnection implements Poolable {
  readonly #raw: Raw;
  readonly #timeoutMs: number;
  readonly closed: Promise<Error | undefined>;
  readonly id: number;
  flavour: Flavour = "mysql";
  version = "";
  packetBytesMax = 16 * 1024 * 1024;
  inFlight = 0;
  inTransaction = false;
  /** `wait_timeout` of the session, seconds. */
  idleTimeout: number | undefined;
  #gone = false;

  constructor(raw: Raw, timeoutMs: number) {
    this.#raw = raw;
    this.#timeoutMs = timeoutMs;
    this.id = raw.threadId;
    const closed = Promise.withResolvers<Error | undefined>();
    this.closed = closed.promise;
    raw.on("error", (error: Error) => closed.resolve(error));
    raw.on("end", () => closed.resolve(undefined));
    raw.stream.on("close", () => closed.resolve(undefined));
    void closed.promise.then(() => this.#gone = true);
  }

  /** A statement as text, without values. */
  query(sql: string): Promise<Raw> {
    return this.#command((done) => this.#raw.query({ sql, rowsAsArray: false }, done));
  }

  /** A prepared statement with bound values. */
  execute(sql: string, values: readonly unknown[]): Promise<Raw> {
    return this.#command((done) => this.#raw.execute(sql, values, done));
  }

  async begin(): Promise<void> {
    await this.query("START TRANSACTION");
    this.inTransaction = true;
  }

  async commit(): Promise<void> {
    await this.query("COMMIT");
    this.inTransaction = false;
  }

  async rollback(): Promise<void> {
    await this.query("ROLLBACK");
    this.inTransaction = false;
  }

  async ping(): Promise<void> {
    await this.#command((done) => this.#raw.ping(done));
  }

  /** COM_RESET_CONNECTION, which also forgets prepared statements, and then the session as it was set up. */
  async reset(): Promise<void> {
    await this.#command((done) => this.#raw.reset(done));
    this.inTransaction = false;
    await this.prepareSession();
  }

  /** Reads the server's limits and sets what every session of ours has. */
  async prepareSession(): Promise<void> {
    const [facts] = await this.query(
      "SELECT @@max_allowed_packet AS packet, VERSION() AS version, @@wait_timeout AS idle",
    );
    this.packetBytesMax = Number(facts.packet);
    this.version = String(facts.version);
    this.flavour = /mariadb/i.test(this.version) ? "mariadb" : "mysql";
    this.idleTimeout = Number(facts.idle);
    await this.query(`SET SESSION ${SESSION}`);
  }

  async close(): Promise<void> {
    await this.#command((done) => this.#raw.end(done));
  }

  destroy(): void {
    // The stream first: mysql2's own destroy leaves a half-open socket and its callbacks alone.
    this.#raw.stream?.destroy();
    this.#raw.destroy();
  }

  #command(start: (done: (error: Error | null, result?: Raw) => void) => void): Promise<Raw> {
    const { promise, resolve, reject } = Promise.withResolvers<Raw>();
    const timer = setTimeout(() => {
      settle(() => reject(new CommandTimeoutError(`no answer within ${this.#timeoutMs} ms`)));
      this.destroy();
    }, this.#timeoutMs);
    Deno.unrefTimer(timer);
    let open = true;
    const settle = (end: () => void) => {
      if (!open) return;
      open = false;
      this.inFlight--;
      clearTimeout(timer);
      end();
    };
    if (this.#gone) {
      clearTimeout(timer);
      return Promise.reject(lost(undefined, false));
    }
    this.inFlight++;
    this.closed.then((error) => settle(() => reject(lost(error, true))));
    try {
      start((error, result) => settle(() => error ? reject(error) : resolve(result)));
    } catch (error) {
      settle(() => reject(error));
    }
    return promise;
  }
}

/** MySQL 4031 (closed for inactivity) was said before our command was read, so it was not executed either. */
function lost(error: Error | undefined, sent: boolean): ConnectionLostError {
  const idle = (error as { errno?: number } | undefined)?.errno === 4031;
  const message = error?.message ?? "the connection was closed by the server";
  return new ConnectionLostError(message, sent && !idle, { cause: error });
}

/** Connects, logs in and sets the session up. The signal destroys what is under way. */
export async function connectMysql(
  settings: MysqlSettings,
  { signal }: { signal?: AbortSignal } = {},
): Promise<MysqlConnection> {
  const { host, port, user, database, tls, connectTimeoutMs = 10_000, commandTimeoutMs = 30_000 } = settings;
  const password = await settings.password?.();
  signal?.throwIfAborted();
  const raw: Raw = mysql.createConnection({
    ...(host.startsWith("/") ? { socketPath: host } : { host, port }),
    user,
    database,
    password,
    connectTimeout: connectTimeoutMs,
    charset: "utf8mb4_general_ci",
    flags: ["-LOCAL_FILES", "-FOUND_ROWS"],
    supportBigNumbers: true,
    bigNumberStrings: false,
    dateStrings: true,
    maxPreparedStatements: 200,
    ...(tls
      ? {
        ssl: {
          ca: tls.ca,
          cert: tls.cert,
          key: tls.key,
          rejectUnauthorized: tls.verify ?? true,
          verifyIdentity: tls.verify ?? true,
        },
      }
      : {}),
  });
  const connected = Promise.withResolvers<void>();
  const onAbort = () => {
    raw.stream?.destroy();
    connected.reject(signal!.reason);
  };
  signal?.addEventListener("abort", onAbort, { once: true });
  raw.on("error", () => {});
  raw.connect((error: Error | null) => error ? connected.reject(error) : connected.resolve());
  try {
    await connected.promise;
    const connection = new MysqlConnection(raw, commandTimeoutMs);
    await connection.prepareSession();
    return connection;
  } catch (error) {
    raw.stream?.destroy();
    raw.destroy();
    throw error;
  } finally {
    signal?.removeEventListener("abort", onAbort);
  }
}
