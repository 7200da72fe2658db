/**
 * What can go wrong with an acquire. Each error says what the pool was doing and in what state it was; the reason
 * that lies deeper is its `cause`. An aborted acquire rejects with the signal's own reason instead.
 */

/** Nothing came in time. `cause` is the last failed connect, where there was one since the last good one. */
export class PoolTimeoutError extends Error {
  override name = "PoolTimeoutError";
  /** What it was waiting for: its turn, the connection that was being made, or the answer to a ping. */
  readonly where: "queue" | "connect" | "ping";
  constructor(message: string, where: PoolTimeoutError["where"], options?: ErrorOptions) {
    super(message, options);
    this.where = where;
  }
}

/** The pool was closed before or while waiting. */
export class PoolClosedError extends Error {
  override name = "PoolClosedError";
}

/** A lease was used after its end: its connection may be in other hands by now. */
export class LeaseReleasedError extends Error {
  override name = "LeaseReleasedError";
}

/** `connect` failed; what it threw is the `cause`. */
export class ConnectError extends Error {
  override name = "ConnectError";
}

/** The connection was lost under a statement. */
export class ConnectionLostError extends Error {
  override name = "ConnectionLostError";
  /** False: no byte of the statement has left, so it may be repeated. True: nobody knows what became of it. */
  readonly sent: boolean;
  constructor(message: string, sent: boolean, options?: ErrorOptions) {
    super(message, options);
    this.sent = sent;
  }
}
