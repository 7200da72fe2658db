/**
 * What lies beside the spool to tell that the spool itself is missing or hurt: which one it is, whether it was closed,
 * and whether damage was met in it.
 *
 * A line with the identity, `open` while the spool is in use, `damaged` and why. Best effort: where it cannot be written the spool works as well, but would not be missed.
 */

export interface Mark {
  readonly identity?: string;
  /** The spool was not closed: a log with its latest messages lies beside it. */
  readonly open: boolean;
  /** Damage was met while it was in use: it must be salvaged before it is used again. */
  readonly damage?: string;
}

const DAMAGED = "damaged ";

export function readMark(path: string): Mark {
  const lines = readLines(path);
  return {
    identity: lines.find((it) => it !== "open" && !it.startsWith(DAMAGED)),
    open: lines.includes("open"),
    damage: lines.find((it) => it.startsWith(DAMAGED))?.slice(DAMAGED.length),
  };
}

export function writeMark(path: string, { identity, open, damage }: Mark): void {
  const lines = [
    ...(identity ? [identity] : []),
    ...(open ? ["open"] : []),
    ...(damage ? [DAMAGED + damage] : []),
  ];
  if (readLines(path).join() === lines.join()) return;
  try {
    Deno.writeTextFileSync(`${path}.identity.new`, lines.join("\n"));
    Deno.renameSync(`${path}.identity.new`, `${path}.identity`);
  } catch {
    removeIfThere(`${path}.identity.new`);
  }
}

export function markDamaged(path: string, damage: string): void {
  writeMark(path, { ...readMark(path), damage });
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
