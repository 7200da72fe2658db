/**
 * Opening a spool that may be damaged: what cannot be read is set aside under a name with a time stamp, never deleted,
 * and what can be read goes on in a new file, under the same identity where that is known.
 *
 * It is done beside the damaged file, which leaves its place only when all is ready: a crash or a full disk on the way
 * leaves everything as it was. A spool that vanished, or lost its log, is noticed by what lies beside it. It is
 * looked through when it is opened, up to a bound, because a large one would take minutes on a card; damage that is met
 * later is marked, and the next opening begins with the rescue.
 */
import { systemClock } from "../clock.ts";
import { messageOf } from "../errors.ts";
import { balance } from "./changes.ts";
import { DamageError, SpoolFile } from "./file.ts";
import { type Mark, readMark, removeIfThere, writeMark } from "./identity.ts";
import { rescue } from "./rescue.ts";
import { Store } from "./store.ts";

const SQLITE_ERROR = 1;
const SQLITE_CORRUPT = 11;
const SQLITE_NOTADB = 26;
/** The file, its log, and the index of the log. */
const SUFFIXES = ["", "-wal", "-shm"];

/** A spool of this size is looked through at every start; of a larger one so much of what waits. */
const CHECKED_BYTES_MAX = 16 * 1024 * 1024;
/** A header that says more is not to be believed. */
const LENGTHENED_MAX = 2 ** 40;

export interface OpenedStore {
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
    if (before.damage !== undefined && exists(path)) throw new DamageError(before.damage);
    store = openChecked(path, graceMs);
  } catch (error) {
    if (!isDamage(error)) throw error;
    notes.push(salvage(path, messageOf(error), before));
    store = openChecked(path, graceMs);
    const missing = balance(store);
    if (missing > 0) notes.push(`of what waited in the spool ${path}, ${missing} deliveries are lost`);
  }
  if (before.identity !== undefined && before.identity !== store.identity && notes.length === 0) {
    notes.push(
      `the spool ${path} is not the one that was used before (it was deleted, emptied or replaced): ` +
        "messages that waited in it are lost",
    );
  }
  writeMark(path, { identity: store.identity, open: true });
  return { store, notes };
}

/** Damage is best met here, and not in the middle of work. */
function openChecked(path: string, graceMs: number): Store {
  const store = new Store(path, graceMs);
  try {
    store.check(CHECKED_BYTES_MAX);
    return store;
  } catch (error) {
    store.file.close();
    throw error;
  }
}

/** Of the content: SQLite says so, tables or columns are missing, or a value is not what it must be. */
function isDamage(error: unknown): boolean {
  if (error instanceof DamageError) return true;
  const { errcode } = error as { errcode?: number };
  if (errcode === undefined) return error instanceof SyntaxError || error instanceof TypeError;
  return [SQLITE_ERROR, SQLITE_CORRUPT, SQLITE_NOTADB].includes(errcode & 255);
}

/** Returns what was done. Throws, with everything in its place, where there is no room for it. */
function salvage(path: string, reason: string, before: Mark): string {
  const [copy, rescued] = [`${path}.copy`, `${path}.rescuing`];
  const tidy = () => SUFFIXES.forEach((it) => [copy, rescued].forEach((name) => removeIfThere(name + it)));
  tidy();
  try {
    const { frames, lost } = copyOver(path, copy, rescued, before);
    Deno.renameSync(rescued, `${path}.rescued`);
    const aside = swap(path);
    return `the spool ${path} was damaged (${reason}): it was set aside as ${aside}, ${frames} frames were saved` +
      (lost.length > 0 ? `, not readable: ${lost.join("; ")}` : "");
  } catch (error) {
    throw new Error(
      `the spool ${path} is damaged (${reason}) and could not be rescued (${messageOf(error)}): ` +
        "make room for a copy of it beside it, or move it away to begin a new one",
      { cause: error },
    );
  } finally {
    tidy();
  }
}

/** From the damaged file itself, read-only; from a copy where that must be lengthened first. */
function copyOver(
  path: string,
  copy: string,
  rescued: string,
  { identity }: Mark,
): { frames: number; lost: readonly string[] } {
  const bytes = trueLength(path);
  if (bytes !== null) {
    for (const suffix of ["", "-wal"]) {
      if (exists(path + suffix)) Deno.copyFileSync(path + suffix, copy + suffix);
    }
    Deno.truncateSync(copy, bytes);
  }
  let source: SpoolFile;
  try {
    source = new SpoolFile(bytes === null ? path : copy, { readOnly: true });
  } catch (error) {
    if (!isDamage(error)) throw error;
    new SpoolFile(rescued).close();
    return { frames: 0, lost: [`everything (${messageOf(error)})`] };
  }
  try {
    const target = new SpoolFile(rescued);
    try {
      return rescue(source, target, identity);
    } finally {
      target.close();
    }
  } finally {
    source.close();
  }
}

/** The length that its header gives where the file is shorter: SQLite reads nothing of a file that was cut off. */
function trueLength(path: string): number | null {
  using file = Deno.openSync(path);
  const header = new DataView(new ArrayBuffer(32));
  file.readSync(new Uint8Array(header.buffer));
  const bytes = header.getUint16(16) * header.getUint32(28);
  return file.statSync().size < bytes && bytes <= LENGTHENED_MAX ? bytes : null;
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
