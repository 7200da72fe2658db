/**
 * The spool's housekeeping, in its own thread: the limit of its size, a full disk, the timer that makes settling
 * durable, the grace period, the lock that keeps a second gateway away, and what to do with a damaged file.
 *
 * Errors that leave the promise intact (the disk is full) are answers; all others end the gateway.
 */
import { systemClock } from "../clock.ts";
import { messageOf } from "../errors.ts";
import { dropOldest, renew } from "./changes.ts";
import { removeIfThere, writeMark } from "./identity.ts";
import { Requests } from "./requests.ts";
import { openOrSalvage } from "./salvage.ts";
import type { Store } from "./store.ts";
import type { Numbered, TotalCounts } from "./stored.ts";
import type { Full, Opened, Picture } from "./worker.ts";

const FLUSH_AFTER_MS = 1_000;
const SWEEP_EVERY_MS = 5_000;
const PICTURE_EVERY_MS = 500;
/** Deleted when the disk is full, so that settling and deleting have room; made again when there is some. */
const BALLAST_BYTES = 1024 * 1024;
/** Of the limit: above it, what is settled is deleted at once. */
const GRACE_SHARE = 0.5;
/** Of the limit: what dead letters may take. */
const LETTERS_SHARE = 0.1;
const SQLITE_FULL = 13;

export class SpoolThread {
  readonly store: Store;
  readonly requests: Requests;
  readonly opened: Opened;
  readonly #path: string;
  readonly #bytesMax: number;
  readonly #dropOldest: boolean;
  readonly #lock: Deno.FsFile;
  readonly #sweeper: ReturnType<typeof setInterval>;
  readonly #inode: number | null;
  #flushTimer: ReturnType<typeof setTimeout> | undefined;
  #picture: Picture | undefined;
  #pictureAt = -Infinity;

  constructor(
    { path, graceMs, bytesMax, dropOldest }: {
      path: string;
      graceMs: number;
      bytesMax: number;
      dropOldest: boolean;
    },
  ) {
    this.#path = path;
    this.#bytesMax = bytesMax;
    this.#dropOldest = dropOldest;
    this.#lock = lock(path);
    const { store, notes } = openOrSalvage(path, graceMs);
    this.store = store;
    this.requests = new Requests(store.file);
    store.letters.bytesMax = bytesMax * LETTERS_SHARE;
    this.#inode = Deno.statSync(path).ino;
    this.#ballast(true);
    this.opened = {
      identity: store.identity,
      highestAtOpen: store.highestAtOpen,
      lanes: [...store.lanes.keys()],
      notes,
    };
    this.#sweeper = setInterval(() => this.#sweep(), SWEEP_EVERY_MS);
  }

  /** Appends, or says why it cannot now. `mayWait`: the caller can hold acknowledgements back; else QoS 0 is dropped. */
  append(buffer: ArrayBuffer, addresses: readonly Numbered[], mayWait: boolean): TotalCounts | Full {
    this.#checkFile();
    let full = this.#full();
    if (full && this.#dropOldest) {
      this.commit(() => dropOldest(this.store, this.#bytesMax / 20));
      full = false;
    }
    if (full && mayWait) return { full: `the spool has reached its limit of ${this.#bytesMax} bytes` };
    try {
      return this.commit(() => this.store.append(buffer, addresses, full));
    } catch (error) {
      if ((error as { errcode?: number }).errcode !== SQLITE_FULL) throw error;
      this.#ballast(false);
      return { full: `the disk of the spool is full: ${messageOf(error)}` };
    }
  }

  /** Runs a transaction; after an error everything is as it was committed. */
  commit<T>(action: () => T): T {
    try {
      return action();
    } catch (error) {
      this.store.reload();
      throw error;
    }
  }

  renew(upto: number): string {
    const identity = crypto.randomUUID();
    writeMark(this.#path, { identities: [this.store.identity, identity], open: true });
    this.commit(() => renew(this.store, upto, identity));
    writeMark(this.#path, { identities: [identity], open: true });
    return identity;
  }

  settle(action: () => void): void {
    try {
      action();
    } catch (error) {
      // Nothing is lost: the ledger will tell that the batch is in the database.
      this.store.reload();
      if ((error as { errcode?: number }).errcode !== SQLITE_FULL) throw error;
      this.#ballast(false);
      return;
    }
    this.#flushTimer ??= setTimeout(() => this.#flush(), FLUSH_AFTER_MS);
  }

  #flush(): void {
    clearTimeout(this.#flushTimer);
    this.#flushTimer = undefined;
    try {
      this.store.file.commit();
    } catch {
      this.store.reload();
    }
  }

  #full(): boolean {
    if (this.store.file.bytes < this.#bytesMax) return false;
    while (this.store.sweep(true));
    this.#flush();
    return this.store.file.bytes >= this.#bytesMax;
  }

  #sweep(): void {
    try {
      const inNeed = this.store.file.bytes > this.#bytesMax * GRACE_SHARE;
      this.store.sweep(inNeed);
      this.#flush();
      this.#ballast(true);
    } catch {
      this.store.reload();
      this.#ballast(false);
    }
  }

  /** The file that we write to must be the one that lies there: a deleted one takes everything and keeps nothing. */
  #checkFile(): void {
    let inode: number | null | undefined;
    try {
      inode = Deno.statSync(this.#path).ino;
    } catch {
      inode = undefined;
    }
    if (inode !== this.#inode) {
      throw new Error(`the file ${this.#path} was removed or replaced while it was in use`);
    }
  }

  #ballast(wanted: boolean): void {
    const path = `${this.#path}.ballast`;
    try {
      if (!wanted) Deno.removeSync(path);
      else if (!exists(path)) Deno.writeFileSync(path, new Uint8Array(BALLAST_BYTES).fill(0x5a));
    } catch {
      // Without it the spool works as well, until the disk is full.
      if (wanted) removeIfThere(path);
    }
  }

  /** At most half a second old, as far as it costs anything. */
  picture(): Picture {
    const { store } = this;
    const now = systemClock.now();
    if (!this.#picture || now - this.#pictureAt > PICTURE_EVERY_MS) {
      this.#pictureAt = now;
      this.#picture = {
        totals: store.totals,
        lanes: [],
        bytes: store.file.bytes,
        deadLetters: store.letters.count,
        lettersDropped: 0,
        lettersFull: false,
        bytesWritten: bytesWritten(),
      };
    }
    const lanes = [...store.lanes.values()].map(({ name, pending, oldestReceivedAtMs }) => ({
      name,
      pending,
      oldestReceivedAtMs: pending > 0 ? oldestReceivedAtMs : null,
    }));
    const { count: deadLetters, dropped: lettersDropped, full: lettersFull } = store.letters;
    return { ...this.#picture, totals: { ...store.totals }, lanes, deadLetters, lettersDropped, lettersFull };
  }

  close(): void {
    clearInterval(this.#sweeper);
    this.#flush();
    this.store.file.close();
    writeMark(this.#path, { identities: [this.store.identity], open: false });
    removeIfThere(`${this.#path}.ballast`);
    this.#lock.close();
  }
}

/** Keeps a second gateway away from the same spool for as long as this process lives. */
function lock(path: string): Deno.FsFile {
  const file = Deno.openSync(`${path}.lock`, { create: true, write: true });
  if (!file.tryLockSync(true)) {
    file.close();
    throw new Error(`the spool ${path} is in use by another gateway`);
  }
  return file;
}

/** Of the whole process: the spool is what writes. */
function bytesWritten(): number {
  try {
    return Number(/^write_bytes: (\d+)/m.exec(Deno.readTextFileSync("/proc/self/io"))?.[1] ?? 0);
  } catch {
    return 0;
  }
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}
