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
  /** As it stands, for messages. */
  picture(): string;
}

export const DONE: Promise<void> = Promise.resolve();

export class SlotLease<C extends Poolable> implements Lease<C> {
  readonly #owner: LeaseOwner<C>;
  readonly #slot: Slot<C>;
  #over = false;
  /** Called at the end, where somebody watches for leaks. */
  onEnd: (() => void) | undefined = undefined;

  constructor(owner: LeaseOwner<C>, slot: Slot<C>) {
    this.#owner = owner;
    this.#slot = slot;
  }

  get connection(): C {
    if (this.#over) throw this.#released();
    return this.#slot.connection;
  }

  release(): Promise<void> {
    if (this.#over) return DONE;
    this.#end();
    return this.#owner.takeBack(this.#slot);
  }

  invalidate(error?: unknown, { soft = false }: { soft?: boolean } = {}): void {
    if (this.#over) return;
    if (soft) return this.#owner.softened(this.#slot, error);
    this.#end();
    this.#owner.discard(this.#slot, error);
  }

  detach(): C {
    if (this.#over) throw this.#released();
    this.#end();
    this.#owner.detach(this.#slot);
    return this.#slot.connection;
  }

  #end(): void {
    this.#over = true;
    this.onEnd?.();
  }

  #released(): LeaseReleasedError {
    return new LeaseReleasedError(
      `this lease was released: its connection may be in other hands; acquire another (${this.#owner.picture()})`,
    );
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.release();
  }
}
