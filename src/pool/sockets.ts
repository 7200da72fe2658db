/**
 * Every connection that counts against the limit: in use, idle, or on its way out. A connection leaves in one of three
 * ways, once: destroyed (no word, socket gone now), retired (a polite goodbye with a limit; it counts until that is
 * over) or forgotten (somebody else's from now on).
 */
import { destroyQuietly } from "./connector.ts";
import { limited } from "./limited.ts";
import type { Settings } from "./options.ts";
import type { Slot } from "./slot.ts";
import type { CloseReason, Poolable } from "./types.ts";

export class Sockets<C extends Poolable> {
  readonly #settings: Settings<C>;
  readonly #onClosed: (slot: Slot<C>, reason: CloseReason, error: unknown) => void;
  readonly #open = new Set<Slot<C>>();
  readonly #closing = new Set<Slot<C>>();

  constructor(
    settings: Settings<C>,
    onClosed: (slot: Slot<C>, reason: CloseReason, error: unknown) => void,
  ) {
    this.#settings = settings;
    this.#onClosed = onClosed;
  }

  /** In use or idle. */
  get open(): number {
    return this.#open.size;
  }

  get closing(): number {
    return this.#closing.size;
  }

  get all(): readonly Slot<C>[] {
    return [...this.#open, ...this.#closing];
  }

  has(slot: Slot<C>): boolean {
    return slot.state !== "closing";
  }

  add(slot: Slot<C>): void {
    this.#open.add(slot);
  }

  forget(slot: Slot<C>): void {
    slot.state = "closing";
    this.#open.delete(slot);
  }

  destroy(slot: Slot<C>, reason: CloseReason, error?: unknown): void {
    if (!this.#open.delete(slot)) return;
    slot.state = "closing";
    destroyQuietly(slot.connection);
    slot.cancel?.();
    this.#onClosed(slot, reason, error);
  }

  async retire(slot: Slot<C>, reason: CloseReason): Promise<void> {
    if (!this.#open.delete(slot)) return;
    slot.state = "closing";
    this.#closing.add(slot);
    const { clock, resetTimeoutMs } = this.#settings;
    await limited(slot, clock, resetTimeoutMs, "close").catch(() => {});
    destroyQuietly(slot.connection);
    this.#closing.delete(slot);
    this.#onClosed(slot, reason, undefined);
  }

  /** No goodbye, and no more waiting for those under way. */
  destroyAll(): void {
    for (const slot of [...this.#open]) this.destroy(slot, "shutdown");
  }
}
