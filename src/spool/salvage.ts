/**
 * Opening a spool that may be damaged: what cannot be read is set aside under a name with a time stamp, never deleted,
 * and what can be read goes on in a new file, under the same identity where that is known.
 *
 * It is done beside the damaged file, which leaves its place only when all is ready: a crash or a full disk on the way
 * leaves everything as it was. A spool that vanished, or lost its log, is noticed by what lies beside it.
 */
import { systemClock } from "../clock.ts";
import { messageOf } from "../errors.ts";
import { balance } from "./changes.ts";
import { SpoolFile } from "./file.ts";
import { checksum } from "./frame.ts";
import { readMark, removeIfThere, writeMark } from "./identity.ts";
import { rescue } from "./rescue.ts";
import { Store } from "./store.ts";
import type { Frame } from "./stored.ts";

const SQLITE_ERROR = 1;
const SQLITE_CORRUPT = 11;
const SQLITE_NOTADB = 26;
/** The file, its log, and the index of the log. */
const SUFFIXES = ["", "-wal", "-shm"];

/** A header that says more is not to be believed. */
const LENGTHENED_MAX = 2 ** 40;

interface OpenedStore {
  readonly store: Store;
  /** What had to be done, for people. */
  readonly notes: string[];
}

export function openOrSalvage(path: string, graceMs: number): OpenedStore {
  const notes: string[] = [];
  if (exists(`${path}.rescued`)) {
    notes.push(
      `a rescue of the spool ${path} that was interrupted is done: the damaged one is ${swap(path)}`,
    );
  }
  const before = readMark(path);
  if (before.open && exists(path) && !exists(`${path}-wal`)) {
    notes.push(
      `the spool ${path} was not closed, and its log ${path}-wal is gone: ` +
        "unless another program has opened the spool in between, its latest messages are lost",
    );
  }
  let store: Store;
  try {
    store = openChecked(path, graceMs);
  } catch (error) {
    if (!isDamage(error)) throw error;
    notes.push(salvage(path, messageOf(error)));
    store = openChecked(path, graceMs);
    const missing = balance(store);
    if (missing > 0) notes.push(`of what waited in the spool ${path}, ${missing} deliveries are lost`);
  }
  if (before.identities.length > 0 && !before.identities.includes(store.identity) && notes.length === 0) {
    notes.push(
      `the spool ${path} is not the one that was used before (it was deleted, emptied or replaced): ` +
        "messages that waited in it are lost",
    );
  }
  writeMark(path, { identities: [store.identity], open: true });
  return { store, notes };
}

/** Reads through everything that waits once, so that damage is met here and not in the middle of work. */
function openChecked(path: string, graceMs: number): Store {
  const store = new Store(path, graceMs);
  try {
    for (const lane of store.lanes.values()) {
      const frames = store.file.iterate<Frame>(`SELECT first, count, crc, data FROM queue_${lane.id}`);
      for (const { first, count, crc, data } of frames) {
        if (checksum(first, count, data) !== crc) {
          throw Object.assign(new Error(`the frame at ${first} of ${lane.name} is damaged`), {
            errcode: SQLITE_CORRUPT,
          });
        }
      }
    }
    return store;
  } catch (error) {
    store.file.close();
    throw error;
  }
}

/** Of the content: SQLite says so, tables or columns are missing, or a value is not what it must be. */
function isDamage(error: unknown): boolean {
  const { errcode } = error as { errcode?: number };
  if (errcode === undefined) return error instanceof SyntaxError || error instanceof TypeError;
  return [SQLITE_ERROR, SQLITE_CORRUPT, SQLITE_NOTADB].includes(errcode & 255);
}

/** Returns what was done. Throws, with everything in its place, where there is no room for it. */
function salvage(path: string, reason: string): string {
  const [copy, rescued] = [`${path}.copy`, `${path}.rescuing`];
  const tidy = () => SUFFIXES.forEach((it) => [copy, rescued].forEach((name) => removeIfThere(name + it)));
  tidy();
  try {
    const { frames, lost } = copyOver(path, copy, rescued);
    Deno.renameSync(rescued, `${path}.rescued`);
    const aside = swap(path);
    return `the spool ${path} was damaged (${reason}): it was set aside as ${aside}, ${frames} frames were saved` +
      (lost.length > 0 ? `, not readable: ${lost.join("; ")}` : "");
  } catch (error) {
    throw new Error(
      `the spool ${path} is damaged (${reason}) and could not be rescued (${messageOf(error)}): ` +
        "make room for two copies of it beside it, or move it away to begin a new one",
      { cause: error },
    );
  } finally {
    tidy();
  }
}

/** From a copy, because reading a spool means writing its log back. */
function copyOver(path: string, copy: string, rescued: string): { frames: number; lost: readonly string[] } {
  for (const suffix of ["", "-wal"]) {
    if (exists(path + suffix)) Deno.copyFileSync(path + suffix, copy + suffix);
  }
  lengthen(copy);
  let source: SpoolFile;
  try {
    source = new SpoolFile(copy);
  } catch (error) {
    if (!isDamage(error)) throw error;
    new SpoolFile(rescued).close();
    return { frames: 0, lost: [`everything (${messageOf(error)})`] };
  }
  try {
    const target = new SpoolFile(rescued);
    try {
      return rescue(source, target);
    } finally {
      target.close();
    }
  } finally {
    source.close();
  }
}

/** To the length that its header gives: SQLite reads nothing of a file that was cut off. */
function lengthen(path: string): void {
  using file = Deno.openSync(path, { read: true, write: true });
  const header = new DataView(new ArrayBuffer(32));
  file.readSync(new Uint8Array(header.buffer));
  const bytes = header.getUint16(16) * header.getUint32(28);
  const { size } = file.statSync();
  if (size < bytes && bytes <= LENGTHENED_MAX) file.truncateSync(bytes);
}

/** Sets the damaged files aside and puts the rescued one into their place. Whoever is interrupted can begin again. */
function swap(path: string): string {
  const aside = `${path}.damaged-${new Date(systemClock.wallMs()).toISOString().replaceAll(":", "")}`;
  for (const suffix of SUFFIXES) if (exists(path + suffix)) Deno.renameSync(path + suffix, aside + suffix);
  Deno.renameSync(`${path}.rescued`, path);
  return aside;
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}
