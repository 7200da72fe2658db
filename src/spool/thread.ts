/**
 * The spool's housekeeping, in its own thread: the limit of its size, a full disk, the timer that makes settling
 * durable, the grace period, the lock that keeps a second gateway away, and what to do when the file fails.
 *
 * States: working; full (`attempt` answers why, nothing is taken in, draining goes on); broken, after an error that
 * leaves a promise in doubt: nothing is done any more, and the gateway ends. What broke it is said at every call, and a
 * damaged file is marked, to be salvaged when it is opened the next time.
 */
import process from "node:process";
import { systemClock } from "../clock.ts";
import { messageOf } from "../errors.ts";
import { dropOldest } from "./changes.ts";
import { Disk, RESERVE_BYTES, sizeOf } from "./disk.ts";
import { kindOf, LOG_BYTES } from "./file.ts";
import { markDamaged, writeMark } from "./identity.ts";
import { saveRemoved } from "./removed.ts";
import { Requests } from "./requests.ts";
import { type OpenedStore, openOrSalvage } from "./salvage.ts";
import type { Store } from "./store.ts";
import type { Numbered, TotalCounts } from "./stored.ts";
import type { Full, Opened, Picture } from "./worker.ts";

const FLUSH_AFTER_MS = 1_000;
const SWEEP_EVERY_MS = 5_000;
/** Where one sweep was not enough. */
const SWEEP_AGAIN_MS = 100;
const PICTURE_EVERY_MS = 500;
/** Of the limit: above it, what is settled is deleted at once. */
const GRACE_SHARE = 0.5;
/** Of the limit: what dead letters may take. */
const LETTERS_SHARE = 0.1;
/** Of the limit: what goes at a time under `onFull: "dropOldest"`. */
const DROP_SHARE = 0.05;
const LOCKED = "another program locks the spool";
/** Free inside the file: an append needs no more room on the disk than for the log. */
const FREE_INSIDE_BYTES = 1024 * 1024;

export interface ThreadOptions {
  readonly path: string;
  readonly graceMs: number;
  readonly bytesMax: number;
  readonly dropOldest: boolean;
  /** Told of an error that breaks the spool while nobody waits for an answer. */
  readonly onBroken: (error: Error) => void;
}

export class SpoolThread {
  readonly store: Store;
  readonly requests: Requests;
  readonly opened: Opened;
  readonly #options: ThreadOptions;
  readonly #disk: Disk;
  readonly #lock: Deno.FsFile;
  readonly #inode: number | null;
  #sweepTimer: ReturnType<typeof setTimeout> | undefined;
  #flushTimer: ReturnType<typeof setTimeout> | undefined;
  #broken: Error | undefined;
  /** How often what was not committed was taken back. */
  #rollbacks = 0;
  #picture = { bytes: 0, logBytes: 0, bytesWritten: 0 };
  #pictureAt = -Infinity;

  constructor(options: ThreadOptions) {
    const { path, bytesMax } = options;
    this.#options = options;
    this.#disk = new Disk(path);
    this.#lock = lock(path);
    const { store, notes } = this.#open();
    this.store = store;
    this.requests = new Requests(store.file);
    store.letters.bytesMax = bytesMax * LETTERS_SHARE;
    this.#inode = Deno.statSync(path).ino;
    this.#disk.keepBallast();
    this.opened = {
      identity: store.identity,
      highestAtOpen: store.highestAtOpen,
      lanes: [...store.lanes.keys()],
      notes,
    };
    this.#sweepIn(SWEEP_EVERY_MS);
  }

  /** On a full disk opening may fail as well: the ballast is for that, too. */
  #open(): OpenedStore {
    const { path, graceMs } = this.#options;
    try {
      return openOrSalvage(path, graceMs);
    } catch (error) {
      if (!this.#disk.release()) throw this.#explained(error);
    }
    try {
      return openOrSalvage(path, graceMs);
    } catch (error) {
      throw this.#explained(error);
    }
  }

  /** Appends, or says why it cannot now. `mayWait`: the caller can hold acknowledgements back; else QoS 0 is dropped. */
  append(buffer: ArrayBuffer, addresses: readonly Numbered[], mayWait: boolean): TotalCounts | Full {
    return this.attempt(() => {
      let full = this.#full();
      if (full && this.#options.dropOldest) {
        dropOldest(this.store, this.#options.bytesMax * DROP_SHARE);
        full = this.#full();
      }
      if (full && mayWait) return { full };
      return this.store.append(buffer, addresses, full !== null);
    });
  }

  /** Joins the next commit. Where that is not possible the batch is forgotten, and must be read again. */
  settle(action: () => void): void | Full {
    const answer = this.attempt(action);
    this.#flushTimer ??= setTimeout(() => this.#alone(() => this.#flush()), FLUSH_AFTER_MS);
    return answer;
  }

  /**
   * Runs a transaction. After an error everything is as it was committed: of one that passes it is said what it waits
   * for, after any other nothing may be trusted any more (an fsync that failed once lies the next time).
   */
  attempt<T>(action: () => T): T | Full {
    if (this.#broken) throw this.#broken;
    const { open } = this.store.file;
    try {
      this.#checkFile();
      return action();
    } catch (error) {
      const kind = kindOf(error);
      if (kind === "failed" || kind === "damage") throw this.#break(error);
      // Another program has the lock, and no transaction was begun: everything is as it was.
      if (kind === "busy" && !open && !this.store.file.open) return { full: LOCKED };
      try {
        this.#rollbacks++;
        this.store.reload();
        if (kind === "full") this.#makeRoom();
      } catch (next) {
        if (kindOf(next) !== "full" && kindOf(next) !== "busy") throw this.#break(next);
      }
      return { full: kind === "full" ? "the disk of the spool is full" : LOCKED };
    }
  }

  /** Reads: no transaction is open for it that would have to be taken back. */
  look<T>(action: () => T): T {
    if (this.#broken) throw this.#broken;
    try {
      return action();
    } catch (error) {
      throw this.#break(error);
    }
  }

  #break(error: unknown): Error {
    clearTimeout(this.#sweepTimer);
    clearTimeout(this.#flushTimer);
    if (kindOf(error) === "damage") markDamaged(this.#options.path, messageOf(error));
    return this.#broken = this.#explained(error);
  }

  #explained(error: unknown): Error {
    const { errcode } = error as { errcode?: number };
    const what = `${messageOf(error)}${errcode === undefined ? "" : ` (SQLite error ${errcode})`}`;
    const obstacle = errcode === undefined ? null : this.#disk.obstacle;
    const full = kindOf(error) === "full" || this.#disk.freeBytes === 0;
    return new Error(
      what + (obstacle ? `: the file ${this.#options.path} cannot be written: ${obstacle}` : "") +
        (full ? `: the disk of ${this.#options.path} is full` : ""),
      { cause: error },
    );
  }

  /** What the log holds goes into the file, for which the ballast makes room; then the log needs none. */
  #makeRoom(): void {
    this.#disk.release();
    this.store.file.checkpoint();
  }

  /** From a timer, for whose errors nobody waits. */
  #alone(action: () => void): void {
    try {
      action();
    } catch (error) {
      this.#options.onBroken(error as Error);
    }
  }

  #flush(): void {
    this.#flushTimer = undefined;
    this.attempt(() => this.store.commit());
  }

  /** Why nothing more can be taken in; null where it can. Deletes what is settled before it says so. */
  #full(): string | null {
    const reason = this.#reason();
    if (reason === null) return null;
    while (this.store.sweep(true));
    this.store.commit();
    if (this.#excessLog() > 0) this.store.file.cutLog();
    return this.#reason();
  }

  #reason(): string | null {
    const { bytesMax } = this.#options;
    const { file } = this.store;
    const log = this.#excessLog();
    if (file.bytes + log >= bytesMax) {
      return log > bytesMax / 2
        ? `the log of the spool has grown to ${log} bytes, because another program reads it all the time`
        : `the spool has reached its limit of ${bytesMax} bytes`;
    }
    const free = this.#disk.freeBytes;
    if (free >= RESERVE_BYTES || file.freeBytes >= FREE_INSIDE_BYTES) return null;
    return `the disk of the spool is full but for ${free} bytes, which it needs to be drained`;
  }

  /** Beyond what SQLite's log takes of the disk where nobody is in its way. */
  #excessLog(): number {
    return Math.max(0, sizeOf(`${this.#options.path}-wal`) - 2 * LOG_BYTES);
  }

  #sweep(): void {
    const { store } = this;
    const { bytesMax } = this.#options;
    const more = this.attempt(() => {
      const inNeed = store.file.bytes > bytesMax * GRACE_SHARE || this.#disk.freeBytes < RESERVE_BYTES;
      const more = store.sweep(inNeed);
      store.commit();
      return more;
    });
    this.#disk.keepBallast();
    this.#sweepIn(more === true ? SWEEP_AGAIN_MS : SWEEP_EVERY_MS);
  }

  #sweepIn(delayMs: number): void {
    this.#sweepTimer = setTimeout(() => this.#alone(() => this.#sweep()), delayMs);
  }

  /** The file that we write to must be the one that lies there: a deleted one takes everything and keeps nothing. */
  #checkFile(): void {
    const { path } = this.#options;
    let inode: number | null | undefined;
    try {
      inode = Deno.statSync(path).ino;
    } catch {
      inode = undefined;
    }
    if (inode === this.#inode) return;
    const { file, identity } = this.store;
    const saved = saveRemoved(file, path, inode !== undefined);
    if (inode === undefined) writeMark(path, { identity, open: false });
    throw new Error(`the file ${path} was removed or replaced while it was in use; ${saved}`);
  }

  /** What has changed since the last one; sizes are at most half a second old, because they cost something. */
  picture(): Picture {
    const { store } = this;
    const { path } = this.#options;
    const now = systemClock.now();
    if (now - this.#pictureAt > PICTURE_EVERY_MS && !this.#broken) {
      this.#pictureAt = now;
      this.#picture = {
        bytes: store.file.bytes,
        logBytes: sizeOf(`${path}-wal`),
        bytesWritten: bytesWritten(),
      };
    }
    const lanes = [...store.changed].map(({ name, pending, oldestReceivedAtMs }) => ({
      name,
      pending,
      oldestReceivedAtMs: pending > 0 ? oldestReceivedAtMs : null,
    }));
    store.changed.clear();
    const { count: deadLetters, dropped: lettersDropped, full: lettersFull } = store.letters;
    return {
      ...this.#picture,
      totals: { ...store.totals },
      lanes,
      deadLetters,
      lettersDropped,
      lettersFull,
      rollbacks: this.#rollbacks,
    };
  }

  close(): void {
    clearTimeout(this.#sweepTimer);
    clearTimeout(this.#flushTimer);
    const { store } = this;
    if (!this.#broken) this.attempt(() => store.commit());
    store.file.close();
    if (!this.#broken) writeMark(this.#options.path, { identity: store.identity, open: false });
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

/** Of the whole process: the spool is what writes. getrusage(2) counts in blocks of 512 bytes. */
function bytesWritten(): number {
  return process.resourceUsage().fsWrite * 512;
}
