/**
 * What lies beside the spool to tell that the spool itself is missing: which one it is, and whether it was closed.
 *
 * One line for each identity, two while it changes from one to the other, and `open` while the spool is in use. Best
 * effort: where it cannot be written the spool works as well, but would not be missed.
 */

export interface Mark {
  readonly identities: readonly string[];
  /** The spool was not closed: a log with its latest messages lies beside it. */
  readonly open: boolean;
}

export function readMark(path: string): Mark {
  const lines = readLines(path);
  return { identities: lines.filter((it) => it !== "open"), open: lines.includes("open") };
}

export function writeMark(path: string, { identities, open }: Mark): void {
  const lines = open ? [...identities, "open"] : identities;
  if (readLines(path).join() === lines.join()) return;
  try {
    Deno.writeTextFileSync(`${path}.identity.new`, lines.join("\n"));
    Deno.renameSync(`${path}.identity.new`, `${path}.identity`);
  } catch {
    removeIfThere(`${path}.identity.new`);
  }
}

function readLines(path: string): string[] {
  try {
    return Deno.readTextFileSync(`${path}.identity`).split("\n").filter(Boolean);
  } catch {
    return [];
  }
}

export function removeIfThere(path: string): void {
  try {
    Deno.removeSync(path);
  } catch {
    // It was not there, or may not be removed: nobody depends on it.
  }
}
