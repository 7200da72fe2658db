/**
 * One connection to MySQL or MariaDB over mysql2, as the pool and the sink need it: with a limit on every command, a
 * `destroy` that destroys, strict SQL, UTC and utf8mb4, and the server's own limits read once.
 *
 * mysql2 alone leaves a timed-out command in the way of the next one, its `ping` waits for ever, and its `destroy`
 * only says goodbye to a peer that may not listen.
 */
import mysql from "mysql2";
import { messageOf } from "../errors.ts";
import { ConnectionLostError, type Poolable } from "../pool/mod.ts";
import type { Flavour } from "./classify.ts";

export interface MysqlServer {
  /** A name, an address, or the path of a unix socket. */
  readonly host: string;
  readonly port: number;
}

export interface MysqlSettings extends MysqlServer {
  /** Further servers, for when the first cannot be reached or is read-only. */
  readonly hosts?: readonly MysqlServer[];
  readonly user: string;
  readonly database: string;
  /** Asked for at each connect. */
  readonly password?: () => Promise<string | undefined>;
  /** Asked for at each connect, so that a renewed certificate is taken. */
  readonly tls?: () => Promise<MysqlTls>;
  /** For connecting and logging in together; several servers share it. @default 10000 */
  readonly connectTimeoutMs?: number;
  /** For each command. @default 30000 */
  readonly commandTimeoutMs?: number;
}

export interface MysqlTls {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly verify?: boolean;
}

/** A command got no answer in time; its outcome is unknown. */
export class CommandTimeoutError extends Error {
  readonly code = "ETIMEDOUT";
  readonly fatal = true;
}

/** The server ends a session of ours that is silent for so long: what a dead machine had locked is free again then. */
export const SESSION_IDLE_SEC = 60;

const SESSION = [
  // STRICT_TRANS_TABLES would let a table without transactions alter every row of a statement but the first.
  "sql_mode = 'STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'",
  "time_zone = '+00:00'",
  "innodb_lock_wait_timeout = 5",
  // Of whole tables: LOCK TABLES, ALTER TABLE, a backup. The server's own default is a day and more.
  "lock_wait_timeout = 5",
].join(", ");

// deno-lint-ignore no-explicit-any -- mysql2's own types leave out what is used here
type Raw = any;

export class MysqlConnection implements Poolable {
  readonly #raw: Raw;
  readonly #timeoutMs: number;
  readonly closed: Promise<Error | undefined>;
  readonly id: number;
  /** host:port, as configured. */
  readonly server: string;
  flavour: Flavour = "mysql";
  version = "";
  readOnly = false;
  packetBytesMax = 16 * 1024 * 1024;
  inFlight = 0;
  inTransaction = false;
  /** `wait_timeout` as the server has it, seconds. */
  idleTimeout: number | undefined;
  #gone = false;

  constructor(raw: Raw, server: string, timeoutMs: number) {
    this.#raw = raw;
    this.server = server;
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

  /** A prepared statement with bound values. `timeoutMs`: for one that takes longer than others may. */
  execute(sql: string, values: readonly unknown[], timeoutMs?: number): Promise<Raw> {
    return this.#command((done) => this.#raw.execute(sql, values, done), timeoutMs);
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
      "SELECT @@max_allowed_packet AS packet, VERSION() AS version, @@global.wait_timeout AS idle, " +
        "@@global.read_only AS read_only",
    );
    this.packetBytesMax = Number(facts.packet);
    this.version = String(facts.version);
    this.flavour = /mariadb/i.test(this.version) ? "mariadb" : "mysql";
    this.idleTimeout = Number(facts.idle);
    // A number, or since MariaDB 12 a word.
    this.readOnly = !/^(0|OFF)$/i.test(String(facts.read_only));
    const idleSec = Math.min(this.idleTimeout, SESSION_IDLE_SEC);
    await this.query(`SET SESSION ${SESSION}, wait_timeout = ${idleSec}`);
  }

  async close(): Promise<void> {
    await this.#command((done) => this.#raw.end(done));
  }

  destroy(): void {
    // The stream first: mysql2's own destroy leaves a half-open socket and its callbacks alone.
    this.#raw.stream?.destroy();
    this.#raw.destroy();
  }

  #command(
    start: (done: (error: Error | null, result?: Raw) => void) => void,
    timeoutMs: number = this.#timeoutMs,
  ): Promise<Raw> {
    const { promise, resolve, reject } = Promise.withResolvers<Raw>();
    const timer = setTimeout(() => {
      settle(() => reject(new CommandTimeoutError(`no answer within ${timeoutMs} ms`)));
      this.destroy();
    }, timeoutMs);
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

/**
 * Connects to the first server that lets us in and takes writes, logs in and sets the session up. Where all are
 * read-only it is the first of those. The signal destroys what is under way.
 */
export async function connectMysql(
  settings: MysqlSettings,
  { signal }: { signal?: AbortSignal } = {},
): Promise<MysqlConnection> {
  const { host, port, hosts = [], connectTimeoutMs = 10_000 } = settings;
  const servers = [{ host, port }, ...hosts];
  const readOnly: MysqlConnection[] = [];
  const errors: unknown[] = [];
  for (const server of servers) {
    try {
      const connection = await connectTo(
        server,
        settings,
        Math.ceil(connectTimeoutMs / servers.length),
        signal,
      );
      if (connection.readOnly && servers.length > 1) readOnly.push(connection);
      else {
        readOnly.forEach(leave);
        return connection;
      }
    } catch (error) {
      errors.push(error);
      if (signal?.aborted) readOnly.splice(0).forEach(leave);
      signal?.throwIfAborted();
    }
  }
  const [first, ...others] = readOnly;
  others.forEach(leave);
  if (first) return first;
  if (errors.length === 1) throw errors[0];
  const text = servers.map((it, i) => `${it.host}:${it.port}: ${messageOf(errors[i])}`).join("; ");
  // Told of all, it counts as what the first one said.
  const { errno, code, fatal } = errors[0] as { errno?: number; code?: string; fatal?: boolean };
  throw Object.assign(new Error(text, { cause: errors[0] }), { errno, code, fatal });
}

function leave(connection: MysqlConnection): void {
  connection.close().catch(() => {}).finally(() => connection.destroy());
}

async function connectTo(
  { host, port }: MysqlServer,
  { user, database, password, tls, commandTimeoutMs = 30_000 }: MysqlSettings,
  connectTimeoutMs: number,
  signal: AbortSignal | undefined,
): Promise<MysqlConnection> {
  const [secret, certificates] = await Promise.all([password?.(), tls?.()]);
  signal?.throwIfAborted();
  const raw: Raw = mysql.createConnection({
    ...(host.startsWith("/") ? { socketPath: host } : { host, port }),
    user,
    database,
    password: secret,
    connectTimeout: connectTimeoutMs,
    charset: "utf8mb4_general_ci",
    flags: ["-LOCAL_FILES", "-FOUND_ROWS"],
    supportBigNumbers: true,
    bigNumberStrings: false,
    dateStrings: true,
    maxPreparedStatements: 200,
    ...(certificates ? { ssl: sslOf(certificates) } : {}),
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
    const connection = new MysqlConnection(raw, `${host}:${port}`, commandTimeoutMs);
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

/** mysql2 alone checks the chain and not the name. */
function sslOf({ verify = true, ...files }: MysqlTls) {
  return { ...files, rejectUnauthorized: verify, verifyIdentity: verify };
}
