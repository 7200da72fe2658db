/**
 * What the pool needs and what it gives. Times in the options are seconds, as in SQLAlchemy; elsewhere units are in the names.
 */
import type { Clock } from "../clock.ts";

/** What the pool needs of a connection; everything else on it is the caller's business. Each promise may hang: the pool has its own limits. */
export interface Poolable {
  /** The server's connection id, for status and messages. */
  readonly id?: number | string;
  /** SERVER_STATUS_IN_TRANS of the last answer. */
  readonly inTransaction: boolean;
  /** Commands sent and not answered. */
  readonly inFlight: number;
  /** Resolves when the connection is gone, for whatever reason. */
  readonly closed: Promise<Error | undefined>;
  ping(): Promise<unknown>;
  rollback(): Promise<unknown>;
  reset(): Promise<unknown>;
  close(): Promise<unknown>;
  /** The socket is gone when this returns. */
  destroy(): void;
}

export interface PoolOptions<C extends Poolable> {
  readonly connect: (context: { signal: AbortSignal }) => Promise<C>;
  /** @default 5 */
  readonly size?: number;
  /** -1: no limit. @default 10 */
  readonly maxOverflow?: number;
  /** Of the whole acquire, seconds. @default 30 */
  readonly timeout?: number;
  /** Age at which a connection is replaced, seconds; -1: never. @default 3600 */
  readonly recycle?: number;
  /** A connection is replaced up to this part of `recycle` earlier, at random. @default 0.1 */
  readonly recycleJitter?: number;
  /** @default { idleOver: 0, timeout: 1 } */
  readonly prePing?: boolean | { readonly idleOver?: number; readonly timeout?: number };
  readonly order?: "fifo" | "lifo";
  readonly resetOnReturn?: "rollback" | "full" | "none";
  /** @default 5 */
  readonly resetTimeout?: number;
  readonly clock?: Clock;
  readonly random?: () => number;
}

export interface AcquireOptions {
  readonly signal?: AbortSignal;
  /** Seconds. */
  readonly timeout?: number;
}

export interface Lease<C> extends AsyncDisposable {
  readonly connection: C;
  release(): Promise<void>;
  invalidate(error?: unknown, options?: { soft?: boolean }): void;
  detach(): C;
}

export type CloseReason = "overflow" | "recycle" | "dead" | "ping" | "reset" | "invalidated" | "shutdown";

export interface PoolStats {
  readonly size: number;
  readonly idle: number;
  readonly leased: number;
  readonly connecting: number;
  readonly closing: number;
  readonly waiting: number;
  readonly overflow: number;
  readonly generation: number;
}

export interface ConnectionState {
  readonly id: number | string | undefined;
  readonly state: "idle" | "leased" | "closing";
  readonly ageMs: number;
  readonly idleMs: number;
  readonly uses: number;
  readonly recycleInMs: number | null;
}

export interface ConnectionPool<C> extends AsyncDisposable {
  acquire(options?: AcquireOptions): Promise<Lease<C>>;
  use<T>(action: (connection: C) => Promise<T>, options?: AcquireOptions): Promise<T>;
  invalidateAll(options?: { soft?: boolean }): void;
  close(options?: { drain?: number }): Promise<void>;
  readonly stats: PoolStats;
  readonly connections: readonly ConnectionState[];
  status(): string;
}
