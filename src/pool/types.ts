/**
 * What the pool needs, and what it gives. Times in options are seconds, as in SQLAlchemy; elsewhere the unit is in the
 * name.
 */
import type { Clock } from "../clock.ts";

/** What the pool needs of a connection; everything else on it is the caller's business. Each promise may hang: the pool has its own limits. */
export interface Poolable {
  /** The server's connection id, for status and messages. */
  readonly id?: number | string;
  /** Where it leads, for status. */
  readonly server?: string;
  /** SERVER_STATUS_IN_TRANS of the last answer. */
  readonly inTransaction: boolean;
  /** Commands sent and not answered. */
  readonly inFlight: number;
  /** Resolves when the connection is gone, for whatever reason; before what was under way on it rejects. */
  readonly closed: Promise<Error | undefined>;
  /** After how long without a command the server closes it (`wait_timeout`), seconds; undefined: never. */
  readonly idleTimeout?: number;
  ping(): Promise<unknown>;
  rollback(): Promise<unknown>;
  /** Everything of the last user is gone: COM_RESET_CONNECTION, then the session set up again. */
  reset(): Promise<unknown>;
  /** A polite goodbye. */
  close(): Promise<unknown>;
  /** The socket is gone when this returns. */
  destroy(): void;
}

/**
 * What an error of the driver means to the pool. `permanent`: trying again does not help (wrong password, no such
 * database). `busy`: the server has no room for more (MySQL 1040). `failover`: this server is not the one to talk to any
 * more (read-only), nor are its other connections. `other`: everything else.
 */
export type PoolErrorClass = "permanent" | "busy" | "failover" | "other";

export interface PoolOptions<C extends Poolable> {
  /** Asked for each connection, so a password may be a new one each time. `signal` ends the attempt. */
  readonly connect: (context: { signal: AbortSignal }) => Promise<C>;
  /** Connections that are kept; 0: no limit, and all are kept. @default 5 */
  readonly size?: number;
  /** How many more there may be in a rush; -1: no limit. @default 10 */
  readonly maxOverflow?: number;
  /** An overflowing connection is kept idle for so long before it is closed, seconds. @default 0 */
  readonly overflowLinger?: number;
  /** Of the whole acquire, seconds; Infinity: for ever; 0: only what is idle and needs no ping. @default 30 */
  readonly timeout?: number;
  /** Age at which a connection is replaced, seconds, counted from before it was made; -1: never. @default 3600 */
  readonly recycle?: number;
  /** A connection is replaced up to this part of `recycle` earlier, at random; 0..1. @default 0.1 */
  readonly recycleJitter?: number;
  /** Ping before use, unless it answered less than `idleOver` seconds ago; `timeout` in seconds. @default { idleOver: 0, timeout: 1 } */
  readonly prePing?: boolean | { readonly idleOver?: number; readonly timeout?: number };
  /** Ping idle connections this often, seconds; it does not count as use; 0: off. @default 0 */
  readonly keepAlive?: number;
  /** Close what has been idle for longer, seconds; -1: never. The server's own limit is kept in any case. @default -1 */
  readonly idle?: number;
  /** Which idle connection is next: the one idle longest or shortest. @default "fifo" */
  readonly order?: "fifo" | "lifo";
  /** "rollback" sends nothing unless a transaction is open; "full" resets the session. @default "rollback" */
  readonly resetOnReturn?: "rollback" | "full" | "none";
  /** For a reset and for a polite close, seconds. @default 5 */
  readonly resetTimeout?: number;
  /** Connects under way at one time. @default 4 */
  readonly maxConnecting?: number;
  /** For one connect, seconds. @default timeout, or 30 where that is 0 */
  readonly connectTimeout?: number;
  /** Tell of a lease that is held for longer, seconds; costs a stack for each acquire; 0: off. @default 0 */
  readonly leakWarning?: number;
  /** @default every error is "other" */
  readonly classify?: (error: unknown) => PoolErrorClass;
  readonly clock?: Clock;
  /** A number in [0, 1). @default Math.random */
  readonly random?: () => number;
}

export interface AcquireOptions {
  readonly signal?: AbortSignal;
  /** Seconds. @default the pool's */
  readonly timeout?: number;
}

/** The right to use one connection, once. Disposing never throws. */
export interface Lease<C> extends AsyncDisposable {
  /** Throws `LeaseReleasedError` after the end of the lease. */
  readonly connection: C;
  /** Gives it back, when it is in order again. Harmless when repeated. Never rejects. */
  release(): Promise<void>;
  /** Hard: the connection is destroyed now, the lease over. Soft: it may be used on, and is closed on release. */
  invalidate(error?: unknown, options?: { soft?: boolean }): void;
  /** Takes the connection out of the pool for good; closing it is the caller's business. */
  detach(): C;
}

export const CLOSE_REASONS = [
  "overflow",
  "recycle",
  "idle",
  "dead",
  "ping",
  "reset",
  "invalidated",
  "shutdown",
] as const;
export type CloseReason = typeof CLOSE_REASONS[number];

/** Counted since the pool was made. */
export interface PoolTotals {
  readonly acquired: number;
  /** Leases that are over, however they ended. */
  readonly released: number;
  readonly timedOut: number;
  readonly aborted: number;
  /** Over all that had to wait. */
  readonly waitedMs: number;
  readonly opened: number;
  readonly connectFailed: number;
  readonly connectMs: number;
  readonly usedMs: number;
  readonly closed: Readonly<Record<CloseReason, number>>;
}

/** `idle + leased + connecting + closing` is what the server sees. */
export interface PoolStats {
  readonly size: number;
  readonly idle: number;
  /** Also those that the pool itself pings or resets. */
  readonly leased: number;
  readonly connecting: number;
  readonly closing: number;
  readonly waiting: number;
  /** Connections beyond `size`. */
  readonly overflow: number;
  /** Connections of an earlier generation are not used again. */
  readonly generation: number;
  readonly totals: PoolTotals;
}

export interface ConnectionState {
  readonly id: number | string | undefined;
  readonly server: string | undefined;
  readonly state: "idle" | "leased" | "checking" | "closing";
  readonly ageMs: number;
  readonly idleMs: number;
  readonly uses: number;
  readonly recycleInMs: number | null;
}

export type PoolEventType =
  | "connect"
  | "acquire"
  | "release"
  | "reset"
  | "invalidate"
  | "close"
  | "leak"
  | "leak-returned"
  | "warning"
  | "error";

export interface PoolEvent {
  readonly type: PoolEventType;
  readonly id?: number | string;
  readonly reason?: string;
  readonly ageMs?: number;
  readonly idleMs?: number;
  readonly error?: unknown;
}

export interface ConnectionPool<C> extends AsyncDisposable {
  acquire(options?: AcquireOptions): Promise<Lease<C>>;
  /** Acquires, calls, and releases, also where `action` throws. */
  use<T>(action: (connection: C) => Promise<T>, options?: AcquireOptions): Promise<T>;
  /** Hard: idle ones are destroyed now. Soft: each is replaced at its next use. Leased ones are closed on return. */
  invalidateAll(options?: { soft?: boolean }): void;
  /** Refuses new acquires, rejects waiting ones, waits `drain` seconds (5) for leases, destroys what is left. */
  close(options?: { drain?: number }): Promise<void>;
  /** Calls `listener` for each event of this type; what it throws is ignored. Returns how to stop that. */
  on(type: PoolEventType, listener: (event: PoolEvent) => void): () => void;
  readonly stats: PoolStats;
  /** Sockets at most; Infinity where there is no limit. */
  readonly limit: number;
  readonly connections: readonly ConnectionState[];
  /** SQLAlchemy's one line. */
  status(): string;
}
