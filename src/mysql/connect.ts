/**
 * One connection to MySQL or MariaDB over mysql2, as the pool and the sink need it: with a limit on every command, a
 * `destroy` that destroys, strict SQL, UTC and utf8mb4, and the server's own limits read once.
 *
 * mysql2 alone leaves a timed-out command in the way of the next one, its `ping` waits for ever, its `destroy` only says
 * goodbye to a peer that may not listen, and what it knows of a transaction is what it was told to begin.
 */
import { checkServerIdentity } from "node:tls";
import mysql from "mysql2";
import { systemClock } from "../clock.ts";
import { messageOf } from "../errors.ts";
import { ConnectionLostError, type Poolable } from "../pool/mod.ts";
import { classify, type Flavour } from "./classify.ts";
import { IN_TRANSACTION, watchWire } from "./wire.ts";

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
  /** A function is asked at each connect. */
  readonly password?: string | (() => Promise<string | undefined>);
  /** Asked for at each connect, so that a renewed certificate is taken. */
  readonly tls?: () => Promise<MysqlTls>;
  /** For connecting, logging in and setting the session up together; several servers share it. @default 10000 */
  readonly connectTimeoutMs?: number;
  /** For each command. @default 30000 */
  readonly commandTimeoutMs?: number;
  /** Ends the attempt, and destroys what is under way. */
  readonly signal?: AbortSignal;
}

export interface MysqlTls {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly verify?: boolean;
}

/** A command got no answer in time, and its connection is gone: the answer may still come, and must not be another's. */
export class CommandTimeoutError extends ConnectionLostError {
  override name = "CommandTimeoutError";
  readonly code = "ETIMEDOUT";
}

/** ER_CLIENT_INTERACTION_TIMEOUT, since MySQL 8.0.24. */
const CLOSED_FOR_INACTIVITY = 4031;

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

/** A command without an answer yet. */
interface Pending {
  readonly timeoutMs: number;
  /** mysql2's own; `next` is set from the moment on that it is written. */
  command?: { readonly next?: unknown };
  reject(error: Error): void;
}

export class MysqlConnection implements Poolable {
  readonly #raw: Raw;
  readonly #timeoutMs: number;
  readonly #pending = new Set<Pending>();
  readonly #closed = Promise.withResolvers<Error | undefined>();
  #gone: { readonly why: Error | undefined } | undefined;
  readonly id: number;
  /** host:port, as configured, or the path of a socket. */
  readonly server: string;
  flavour: Flavour = "mysql";
  version = "";
  readOnly = false;
  packetBytesMax = 16 * 1024 * 1024;
  /** As the server said in its last answer, whatever statement began it. */
  inTransaction = false;
  /** `wait_timeout` as the server has it, seconds. */
  idleTimeout: number | undefined;

  constructor(raw: Raw, server: string, timeoutMs: number) {
    this.#raw = raw;
    this.server = server;
    this.#timeoutMs = timeoutMs;
    this.id = raw.threadId;
    raw.on("error", (error: Error) => this.#end(error));
    raw.on("end", () => this.#end(undefined));
    // Over TLS mysql2 hears the end of the encrypted stream only when it is closed.
    raw.stream.on("end", () => this.#end(undefined));
    raw.stream.on("close", () => this.#end(undefined));
    watchWire(raw, {
      onStatus: (flags) => this.inTransaction = (flags & IN_TRANSACTION) !== 0,
      onBroken: (error) => this.#end(error),
    });
    this.#raw.stream.unref();
  }

  get closed(): Promise<Error | undefined> {
    return this.#closed.promise;
  }

  get inFlight(): number {
    return this.#pending.size;
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
  }

  async commit(): Promise<void> {
    await this.query("COMMIT");
  }

  async rollback(): Promise<void> {
    await this.query("ROLLBACK");
  }

  async ping(): Promise<void> {
    await this.#command((done) => this.#raw.ping(done));
  }

  /** COM_RESET_CONNECTION, which also forgets prepared statements, and then the session as it was set up. */
  async reset(): Promise<void> {
    await this.#command((done) => this.#raw.reset(done));
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

  /** Says goodbye, and resolves when the server has closed the connection, or has not within the limit. */
  async close(): Promise<void> {
    if (this.#gone) return;
    this.#raw.stream.ref();
    const timer = setTimeout(() => this.destroy(), this.#timeoutMs);
    this.#raw.end();
    await this.closed;
    clearTimeout(timer);
  }

  destroy(): void {
    this.#end(undefined);
  }

  /** Rejects with `ConnectionLostError` where the connection is lost, with the server's error otherwise. */
  #command(
    begin: (done: (error: Error | null, result?: Raw) => void) => Pending["command"],
    timeoutMs: number = this.#timeoutMs,
  ): Promise<Raw> {
    if (this.#gone) return Promise.reject(this.#lostError(undefined));
    const { promise, resolve, reject } = Promise.withResolvers<Raw>();
    const settle = (end: () => void) => {
      if (!this.#pending.delete(pending)) return;
      clearTimeout(timer);
      if (this.#pending.size === 0) this.#raw.stream.unref();
      end();
    };
    const pending: Pending = { timeoutMs, reject: (error) => settle(() => reject(error)) };
    const timer = setTimeout(() => this.#end(undefined, pending), timeoutMs);
    // The process waits for an answer, not for a connection that lies idle.
    this.#raw.stream.ref();
    this.#pending.add(pending);
    const done = (error: Error | null, result?: Raw) => {
      if (!error) settle(() => resolve(result));
      else if (classify(error, this.flavour) === "lost") this.#end(error);
      else pending.reject(error);
    };
    try {
      pending.command = begin(done);
    } catch (error) {
      pending.reject(error as Error);
    }
    return promise;
  }

  /** The end of the connection, whoever noticed it: `closed` resolves first, then what was under way rejects. */
  #end(why: Error | undefined, late?: Pending): void {
    if (this.#gone) return;
    this.#gone = { why };
    this.#closed.resolve(why);
    for (const pending of [...this.#pending]) {
      pending.reject(pending === late ? this.#timeoutError(pending) : this.#lostError(pending));
    }
    // The stream first: mysql2's own destroy leaves a half-open socket and its callbacks alone.
    this.#raw.stream.destroy();
    this.#raw.destroy();
  }

  #timeoutError({ command, timeoutMs }: Pending): CommandTimeoutError {
    return new CommandTimeoutError(
      `no answer from ${this.server} within ${timeoutMs} ms`,
      Boolean(command?.next),
    );
  }

  /** Without a command under way, nothing was sent. */
  #lostError(pending: Pending | undefined): ConnectionLostError {
    const { why } = this.#gone!;
    // The server said so before it read the command, so it did not execute it.
    const unread = (why as { errno?: number } | undefined)?.errno === CLOSED_FOR_INACTIVITY;
    const sent = Boolean(pending?.command?.next) && !unread;
    const cause = why ??
      Object.assign(new Error("the server closed the connection"), {
        code: "PROTOCOL_CONNECTION_LOST",
        fatal: true,
      });
    const outcome = sent ? "what became of the statement is not known" : "the statement was not executed";
    return new ConnectionLostError(`lost ${this.server}: ${messageOf(cause)}; ${outcome}`, sent, { cause });
  }
}

/**
 * Connects to the first server that lets us in and takes writes, logs in and sets the session up. Where all are
 * read-only it is the first of those. The signal destroys what is under way.
 */
export async function connectMysql(settings: MysqlSettings): Promise<MysqlConnection> {
  const { host, port, hosts = [], connectTimeoutMs = 10_000, signal } = settings;
  const servers = [{ host, port }, ...hosts];
  const deadlineMs = systemClock.now() + connectTimeoutMs;
  const readOnly: MysqlConnection[] = [];
  const errors: unknown[] = [];
  for (const [i, server] of servers.entries()) {
    try {
      const limitMs = (deadlineMs - systemClock.now()) / (servers.length - i);
      const connection = await connectTo(server, settings, limitMs);
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
  const text = servers.map((it, i) => `${nameOf(it)}: ${messageOf(errors[i])}`).join("; ");
  // Told of all, it counts as what the first one said.
  const { errno, code, fatal } = errors[0] as { errno?: number; code?: string; fatal?: boolean };
  throw Object.assign(new Error(text, { cause: errors[0] }), { errno, code, fatal });
}

function leave(connection: MysqlConnection): void {
  void connection.close();
}

function nameOf({ host, port }: MysqlServer): string {
  if (host.startsWith("/")) return host;
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}

async function connectTo(
  server: MysqlServer,
  settings: MysqlSettings,
  limitMs: number,
): Promise<MysqlConnection> {
  const { password, tls, commandTimeoutMs = 30_000, signal } = settings;
  const [secret, certificates] = await Promise.all([
    typeof password === "function" ? password() : password,
    tls?.(),
  ]);
  signal?.throwIfAborted();
  const raw: Raw = mysql.createConnection(driverOptions(server, settings, secret, certificates));
  raw.on("error", () => {});
  if (certificates && certificates.verify !== false) checkIdentity(raw, server);
  const ended = Promise.withResolvers<never>();
  const onAbort = () => ended.reject(signal!.reason);
  signal?.addEventListener("abort", onAbort, { once: true });
  const timer = setTimeout(() => {
    ended.reject(Object.assign(new Error(`no log-in within ${Math.round(limitMs)} ms`), LATE));
  }, limitMs);
  const logIn = async () => {
    await new Promise<void>((resolve, reject) => {
      raw.connect((error: Error | null) => error ? reject(error) : resolve());
    });
    const connection = new MysqlConnection(raw, nameOf(server), commandTimeoutMs);
    await connection.prepareSession();
    return connection;
  };
  try {
    return await Promise.race([logIn(), ended.promise]);
  } catch (error) {
    raw.stream.destroy();
    raw.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  }
}

/** As node says it of a connect. */
const LATE = { code: "ETIMEDOUT", fatal: true };

function driverOptions(
  { host, port }: MysqlServer,
  { user, database }: MysqlSettings,
  password: string | undefined,
  certificates: MysqlTls | undefined,
) {
  return {
    ...(host.startsWith("/") ? { socketPath: host } : { host, port }),
    user,
    database,
    password,
    // The limit is kept here.
    connectTimeout: 0,
    charset: "utf8mb4_general_ci",
    flags: ["-LOCAL_FILES", "-FOUND_ROWS"],
    supportBigNumbers: true,
    bigNumberStrings: false,
    dateStrings: true,
    maxPreparedStatements: 200,
    ...(certificates ? { ssl: sslOf(certificates) } : {}),
  };
}

function sslOf({ verify = true, ...files }: MysqlTls) {
  return { ...files, rejectUnauthorized: verify, verifyIdentity: verify };
}

/**
 * Compares the certificate with where we meant to go before any secret is sent. mysql2 does that for names alone: under
 * an address, any certificate of the right authority would do. Behind a unix socket is this machine.
 */
function checkIdentity(raw: Raw, { host }: MysqlServer): void {
  const name = host.startsWith("/") ? "localhost" : host;
  const startTLS = raw.startTLS.bind(raw);
  raw.startTLS = (onSecure: (error?: Error) => void) =>
    startTLS((error?: Error) =>
      onSecure(error ?? checkServerIdentity(name, raw.stream.getPeerCertificate(true)))
    );
}
