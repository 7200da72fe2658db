/**
 * One call of the driver's `connect`, which may hang, throw at once, or deliver after nobody wants it any more: then it
 * is destroyed.
 */
import type { Poolable } from "./types.ts";

export class Attempt<C extends Poolable> {
  readonly #stop = new AbortController();
  readonly #ended = Promise.withResolvers<never>();

  /** Resolves with the connection. Rejects with what the driver throws, or with the reason of `end`. */
  async made(connect: (context: { signal: AbortSignal }) => Promise<C>): Promise<C> {
    const connected = (async () => await connect({ signal: this.#stop.signal }))();
    try {
      return await Promise.race([connected, this.#ended.promise]);
    } catch (error) {
      if (this.ended) connected.then(destroyQuietly, () => {});
      throw error;
    }
  }

  /** Nobody waits for it any more. */
  end(reason: unknown): void {
    this.#ended.reject(reason);
    this.#stop.abort(reason);
  }

  get ended(): boolean {
    return this.#stop.signal.aborted;
  }

  throwIfEnded(): void {
    this.#stop.signal.throwIfAborted();
  }
}

/** The socket must go, whatever the driver says. */
export function destroyQuietly(connection: Pick<Poolable, "destroy">): void {
  try {
    connection.destroy();
  } catch {
    // It is out of the pool all the same.
  }
}
