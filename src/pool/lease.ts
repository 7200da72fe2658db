/**
 * The right to use one connection once. After its end it is only a shell: a second release, or one that comes late,
 * cannot touch whoever has the connection now.
 */
import { LeaseReleasedError } from "./errors.ts";
import type { Slot } from "./slot.ts";
import type { Lease, Poolable } from "./types.ts";

/** What a lease asks of the pool. Each is called at most once for a lease. */
export interface LeaseOwner<C extends Poolable> {
  /** Takes it back; resolves when it is in order again. Never rejects. */
  takeBack(slot: Slot<C>): Promise<void>;
  discard(slot: Slot<C>, error: unknown): void;
  detach(slot: Slot<C>): void;
  softened(slot: Slot<C>, error: unknown): void;
}

export const DONE: Promise<void> = Promise.resolve();

export class SlotLease<C extends Poolable> implements Lease<C> {
  #owner: LeaseOwner<C> | undefined;
  readonly #slot: Slot<C>;
  /** Called at the end, where somebody watches for leaks. */
  onEnd: (() => void) | undefined;

  constructor(owner: LeaseOwner<C>, slot: Slot<C>) {
    this.#owner = owner;
    this.#slot = slot;
  }

  get connection(): C {
    if (!this.#owner) throw released();
    return this.#slot.connection;
  }

  release(): Promise<void> {
    const owner = this.#owner;
    if (!owner) return DONE;
    this.#end();
    return owner.takeBack(this.#slot);
  }

  invalidate(error?: unknown, { soft = false }: { soft?: boolean } = {}): void {
    const owner = this.#owner;
    if (!owner) return;
    if (soft) return owner.softened(this.#slot, error);
    this.#end();
    owner.discard(this.#slot, error);
  }

  detach(): C {
    const owner = this.#owner;
    if (!owner) throw released();
    this.#end();
    owner.detach(this.#slot);
    return this.#slot.connection;
  }

  #end(): void {
    this.#owner = undefined;
    this.onEnd?.();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.release();
  }
}

function released(): LeaseReleasedError {
  return new LeaseReleasedError(
    "this lease was released: its connection may be in other hands; acquire another",
  );
}
