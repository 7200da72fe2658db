/** What can go wrong with an acquire, each with its cause and the pool's numbers in the text. */
export class PoolTimeoutError extends Error {
  override name = "PoolTimeoutError";
  readonly where: "queue" | "connect" | "ping";
  constructor(message: string, where: PoolTimeoutError["where"], options?: ErrorOptions) {
    super(message, options);
    this.where = where;
  }
}
export class PoolClosedError extends Error {
  override name = "PoolClosedError";
}
export class LeaseReleasedError extends Error {
  override name = "LeaseReleasedError";
}
