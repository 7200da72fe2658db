/**
 * The disk that the spool lies on: how much is free, and a ballast, a file that is deleted when nothing is left, so
 * that the spool can still be drained.
 *
 * On a full disk even deleting fails, because it is written down first. What draining needs is room to write SQLite's
 * log back into its file once (`LOG_BYTES` at most): from then on it makes its own. The ballast lies there only where
 * the disk is running short; where there is plenty it would only wear the card.
 */
import { statfsSync } from "node:fs";
import { dirname } from "node:path";
import { messageOf } from "../errors.ts";
import { LOG_BYTES } from "./file.ts";
import { removeIfThere } from "./identity.ts";

/** While less than that is free nothing more is taken in: the rest is for draining. */
export const RESERVE_BYTES = LOG_BYTES + 1024 * 1024;
const BALLAST_BYTES = LOG_BYTES + 1024 * 1024;
/** With so much free there is no need for a ballast. */
const PLENTY_BYTES = 1024 * 1024 * 1024;
/** A ballast on a small disk must leave room for the spool. */
const BALLAST_SHARE = 0.25;

export class Disk {
  readonly #path: string;
  readonly #ballast: string;

  /** `path`: of the spool. */
  constructor(path: string) {
    this.#path = path;
    this.#ballast = `${path}.ballast`;
  }

  /** Bytes that this user may still write; unlimited where the system does not say. */
  get freeBytes(): number {
    try {
      const { bavail, bsize } = statfsSync(dirname(this.#path));
      return bavail * bsize;
    } catch {
      return Infinity;
    }
  }

  /** Makes the ballast where the disk runs short and there is room for it; removes it where there is plenty. */
  keepBallast(): void {
    const free = this.freeBytes;
    if (free > 2 * PLENTY_BYTES) return removeIfThere(this.#ballast);
    const bytes = Math.min(BALLAST_BYTES, Math.floor(free * BALLAST_SHARE));
    if (free > PLENTY_BYTES || free < RESERVE_BYTES + bytes || sizeOf(this.#ballast) > 0) return;
    try {
      Deno.writeFileSync(this.#ballast, new Uint8Array(bytes).fill(0x5a));
    } catch {
      // Without it the spool works as well, until the disk is full.
      removeIfThere(this.#ballast);
    }
  }

  /** The disk is full: gives the ballast away. True where there was one. */
  release(): boolean {
    const there = sizeOf(this.#ballast) > 0;
    removeIfThere(this.#ballast);
    return there;
  }

  /** What keeps the spool's file from being written, in the system's words; null where nothing does. */
  get obstacle(): string | null {
    try {
      Deno.openSync(this.#path, { write: true }).close();
      return null;
    } catch (error) {
      return messageOf(error);
    }
  }
}

export function sizeOf(path: string): number {
  try {
    return Deno.statSync(path).size;
  } catch {
    return 0;
  }
}
