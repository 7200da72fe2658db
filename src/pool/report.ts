/**
 * The pool in words: for errors, for warnings, and SQLAlchemy's line.
 */
import { PoolTimeoutError } from "./errors.ts";
import type { PoolStats } from "./types.ts";

export function describe(stats: PoolStats, limit: number): string {
  const { size, idle, leased, connecting, closing, waiting } = stats;
  return `size ${size}, limit ${limit === Infinity ? "none" : limit}: ${idle} idle, ${leased} leased, ` +
    `${connecting} connecting, ${closing} closing, ${waiting} waiting`;
}

/**
 * SQLAlchemy's `Pool.status()`. Overflow counts from minus size, and is 0 where there is no limit; a connection that is
 * being made for somebody is checked out.
 */
export function statusLine({ size, idle, leased, connecting }: PoolStats): string {
  const out = leased + connecting;
  return `Pool size: ${size}  Connections in pool: ${idle} Current Overflow: ${size && idle + out - size} ` +
    `Current Checked out connections: ${out}`;
}

export function timeoutError(
  { limitMs, where, state, lastError, nested }: {
    limitMs: number;
    where: PoolTimeoutError["where"];
    state: string;
    lastError: { readonly error: unknown } | undefined;
    nested: boolean;
  },
): PoolTimeoutError {
  const last = lastError ? `; the last connect failed: ${textOf(lastError.error)}` : "";
  const inside = nested
    ? "; it was asked for inside of use() of the same pool, which holds a connection meanwhile"
    : "";
  return new PoolTimeoutError(
    `no connection within ${limitMs / 1_000} s (${state})${last}${inside}`,
    where,
    lastError && { cause: lastError.error },
  );
}

/** Undefined where nothing is to be said: never recycled, or in time. */
export function recycleWarning(recycleMs: number, idleTimeoutSec: number | undefined): string | undefined {
  if (idleTimeoutSec === undefined || recycleMs === Infinity || recycleMs < idleTimeoutSec * 1_000) {
    return undefined;
  }
  return `recycle is ${
    recycleMs / 1_000
  } s, but the server closes what is idle for ${idleTimeoutSec} s: idle ` +
    "connections are closed before that; set recycle below it, or to never";
}

export function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
