/**
 * A connection pool with SQLAlchemy's words and meanings, for any driver. Start at `pool.ts`, which hands out leases;
 * what it stacks on that is a file each: the line of waiters, connecting, ages, leases.
 */
export {
  ConnectError,
  ConnectionLostError,
  LeaseReleasedError,
  PoolClosedError,
  PoolTimeoutError,
} from "./errors.ts";
export { Pool } from "./pool.ts";
export { NullPool } from "./null_pool.ts";
export type * from "./types.ts";
