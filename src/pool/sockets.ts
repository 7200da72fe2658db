/**
 * Every connection that counts against the limit: in use, idle, or on its way out. A connection leaves in one of three
 * ways, once: destroyed (no word, socket gone now), retired (a polite goodbye with a limit; it counts until that is
 * over) or forgotten (somebody else's from now on).
 */
import { destroyQuietly } from "./attempt.ts";
import { limited } from "./limited.ts";
import type { Settings } from "./options.ts";
import type { Slot } from "./slot.ts";
import type { CloseReason, Poolable } from "./types.ts";

export class Sockets<C extends Poolable> {
  readonly #settings: Settings<C>;
  readonly #onClosed: (slot: Slot<C>, reason: CloseReason, error: unknown) => void;
  readonly #open = new Set<Slot<C>>();
  readonly #closing = new Set<Slot<C>>();
  /** In use or idle. Counted along: it is asked for with every acquire that has to wait. */
  open = 0;
  closing = 0;

  constructor(
    settings: Settings<C>,
    onClosed: (slot: Slot<C>, reason: CloseReason, error: unknown) => void,
  ) {
    this.#settings = settings;
    this.#onClosed = onClosed;
  }

  get all(): readonly Slot<C>[] {
    return [...this.#open, ...this.#closing];
  }

  has(slot: Slot<C>): boolean {
    return slot.state !== "closing";
  }

  add(slot: Slot<C>): void {
    this.#open.add(slot);
    this.open++;
  }

  forget(slot: Slot<C>): void {
    this.#leave(slot);
  }

  destroy(slot: Slot<C>, reason: CloseReason, error?: unknown): void {
    if (!this.#leave(slot)) return;
    destroyQuietly(slot.connection);
    slot.cancel?.();
    this.#onClosed(slot, reason, error);
  }

  async retire(slot: Slot<C>, reason: CloseReason): Promise<void> {
    if (!this.#leave(slot)) return;
    this.#closing.add(slot);
    this.closing++;
    const { clock, resetTimeoutMs } = this.#settings;
    await limited(slot, clock, resetTimeoutMs, "close").catch(() => {});
    destroyQuietly(slot.connection);
    this.#closing.delete(slot);
    this.closing--;
    this.#onClosed(slot, reason, undefined);
  }

  /** No goodbye, and no more waiting for those under way. */
  destroyAll(): void {
    for (const slot of [...this.#open]) this.destroy(slot, "shutdown");
    for (const slot of this.#closing) slot.cancel?.();
  }

  /** False where it has left already. */
  #leave(slot: Slot<C>): boolean {
    if (!this.#open.delete(slot)) return false;
    this.open--;
    slot.state = "closing";
    return true;
  }
}
