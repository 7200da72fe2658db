/** A generic connection pool. */
export { LeaseReleasedError, PoolClosedError, PoolTimeoutError } from "./errors.ts";
export { Pool } from "./pool.ts";
export { NullPool } from "./null_pool.ts";
export type * from "./types.ts";
