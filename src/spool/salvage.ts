/**
 * Opening a spool that may be damaged: what cannot be read is set aside under a name with a time stamp, never deleted,
 * and what can be read goes on in a new file under the same identity, so that the ledger still knows it.
 *
 * A file that vanished or became empty is noticed by the identity that lies beside it.
 */
import { systemClock } from "../clock.ts";
import { messageOf } from "../errors.ts";
import { SpoolFile } from "./file.ts";
import { checksum } from "./frame.ts";
import { Store } from "./store.ts";
import type { Frame } from "./stored.ts";

const SQLITE_CORRUPT = 11;
const SQLITE_NOTADB = 26;

/** Looking for readable frames behind unreadable ones ends here. */
const FAILURES_MAX = 100_000;

interface OpenedStore {
  readonly store: Store;
  /** What had to be done, for people. */
  readonly notes: string[];
}

export function openOrSalvage(path: string, graceMs: number): OpenedStore {
  const notes: string[] = [];
  const before = identitiesOf(path);
  let store: Store;
  try {
    store = new Store(path, graceMs);
    checkFrames(store);
  } catch (error) {
    const { errcode } = error as { errcode?: number };
    if (errcode !== SQLITE_CORRUPT && errcode !== SQLITE_NOTADB) throw error;
    store = salvage(path, graceMs, messageOf(error), notes);
  }
  if (before.length > 0 && !before.includes(store.identity) && notes.length === 0) {
    notes.push(
      `the spool ${path} is not the one that was used before (it was deleted, emptied or replaced): messages that waited in it are lost`,
    );
  }
  rememberIdentities(path, [store.identity]);
  return { store, notes };
}

/** Writes beside the spool which one it is; two while it changes from one to the other. */
export function rememberIdentities(path: string, identities: readonly string[]): void {
  if (identitiesOf(path).join() === identities.join()) return;
  try {
    Deno.writeTextFileSync(`${path}.identity.new`, identities.join("\n"));
    Deno.renameSync(`${path}.identity.new`, `${path}.identity`);
  } catch {
    // A full disk. Without it the spool works as well, but would not be missed.
    removeQuietly(`${path}.identity.new`);
  }
}

function identitiesOf(path: string): string[] {
  try {
    return Deno.readTextFileSync(`${path}.identity`).split("\n").filter(Boolean);
  } catch {
    return [];
  }
}

/** Reads through everything that waits once, so that damage is met here and not in the middle of work. */
function checkFrames(store: Store): void {
  for (const lane of store.lanes.values()) {
    for (
      const { first, count, crc, data } of store.file.iterate<Frame>(
        `SELECT first, count, crc, data FROM queue_${lane.id}`,
      )
    ) {
      if (checksum(first, count, data) !== crc) {
        throw Object.assign(new Error(`the frame at ${first} of ${lane.name} is damaged`), {
          errcode: SQLITE_CORRUPT,
        });
      }
    }
  }
}

function salvage(path: string, graceMs: number, reason: string, notes: string[]): Store {
  const aside = `${path}.damaged-${new Date(systemClock.wallMs()).toISOString().replaceAll(":", "")}`;
  for (const suffix of ["", "-wal", "-shm"]) {
    try {
      Deno.renameSync(path + suffix, aside + suffix);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  const target = new SpoolFile(path);
  target.begin();
  let copied = 0;
  const lost: string[] = [];
  try {
    // A copy, so that looking at it leaves the damaged file as it is.
    for (const suffix of ["", "-wal"]) {
      if (readable(aside + suffix)) Deno.copyFileSync(aside + suffix, `${path}.salvage${suffix}`);
    }
    const source = new SpoolFile(`${path}.salvage`);
    copied = copyTables(source, target, lost);
    source.close();
  } catch (error) {
    lost.push(`everything (${messageOf(error)})`);
  }
  target.commit();
  target.close();
  for (const suffix of ["", "-wal", "-shm"]) removeQuietly(`${path}.salvage${suffix}`);
  notes.push(
    `the spool ${path} was damaged (${reason}): it was set aside as ${aside}, ${copied} frames were saved` +
      (lost.length > 0 ? `, not readable: ${lost.slice(0, 20).join(", ")}` : ""),
  );
  return new Store(path, graceMs);
}

/** Copies what can be read, table by table and, for queues, frame by frame. Returns how many frames. */
function copyTables(source: SpoolFile, target: SpoolFile, lost: string[]): number {
  const attempt = (what: string, action: () => void) => {
    try {
      action();
    } catch (error) {
      lost.push(`${what} (${messageOf(error)})`);
    }
  };
  for (const table of ["meta", "lane", "route", "arrival", "memory", "dead"]) {
    attempt(`table ${table}`, () => {
      for (
        const row of source.all<Record<string, string | number | Uint8Array | null>>(`SELECT * FROM ${table}`)
      ) {
        const names = Object.keys(row);
        target.run(
          `INSERT OR REPLACE INTO ${table} (${names.join(",")}) VALUES (${names.map(() => "?").join(",")})`,
          ...Object.values(row),
        );
      }
    });
  }
  let copied = 0;
  for (const { id, name } of target.all<{ id: number; name: string }>("SELECT id, name FROM lane")) {
    target.exec(
      `CREATE TABLE queue_${id} (first INTEGER PRIMARY KEY, count INTEGER, crc INTEGER, data BLOB)`,
    );
    let after = -1;
    const { n: last } = ((): { n: number | null } => {
      try {
        return source.get<{ n: number | null }>(`SELECT max(first) AS n FROM queue_${id}`)!;
      } catch {
        return {
          n: Number(
            target.get<{ value: number }>("SELECT value FROM meta WHERE key = 'highest'")?.value ?? 0,
          ),
        };
      }
    })();
    for (let failures = 0; last !== null && after < last && failures < FAILURES_MAX;) {
      let first: number | undefined;
      try {
        first = source.get<{ first: number }>(
          `SELECT first FROM queue_${id} WHERE first > ? ORDER BY first LIMIT 1`,
          after,
        )?.first;
        if (first === undefined) break;
        const frame = source.get<{ count: number; crc: number; data: Uint8Array }>(
          `SELECT count, crc, data FROM queue_${id} WHERE first = ?`,
          first,
        )!;
        if (checksum(first, frame.count, frame.data) !== frame.crc) throw new Error("its checksum is wrong");
        target.run(
          `INSERT INTO queue_${id} (first, count, crc, data) VALUES (?, ?, ?, ?)`,
          first,
          frame.count,
          frame.crc,
          frame.data,
        );
        copied++;
        after = first;
      } catch (error) {
        failures++;
        const at: number = first ?? after + 1;
        if (lost.length < 1_000) lost.push(`the frame at ${at} of ${name} (${messageOf(error)})`);
        after = at;
      }
    }
  }
  return copied;
}

function readable(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

function removeQuietly(path: string): void {
  try {
    Deno.removeSync(path);
  } catch {
    // It was not there.
  }
}
