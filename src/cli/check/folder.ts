/**
 * Whether a folder is one that a database of the gateway's own can live in: writable, on a disk, a local one.
 */
import { statfsSync } from "node:fs";
import { dirname } from "node:path";
import { messageOf } from "../../errors.ts";
import type { FileReport, Path } from "./report.ts";

/** statfs(2). */
const IN_MEMORY: readonly number[] = [0x0102_1994, 0x8584_58f6];
const NETWORK: readonly number[] = [0x6969, 0xff53_4d42, 0xfe53_4d42, 0x517b];

/** False where nothing can be written there. `what` is to lie there. */
export async function checkFolder(
  report: FileReport,
  path: Path,
  dir: string,
  what: string,
): Promise<boolean> {
  try {
    await Deno.remove(await Deno.makeTempFile({ dir, prefix: ".sluice-check-" }));
  } catch (error) {
    report.at(path, {
      severity: "error",
      code: "not-writable",
      message: `${what} cannot be written in ${dir}: ${messageOf(error)}`,
      fix:
        `let the gateway's user write there, e.g. chown -R sluice '${dir}', and check as that user: sudo -u sluice sluice check ...`,
    });
    return false;
  }
  const disk = diskOf(dir);
  if (disk && IN_MEMORY.includes(disk.type)) {
    report.at(path, {
      severity: "warning",
      code: "in-memory",
      message:
        `${dir} lies in memory (tmpfs): what waits there is lost when the power fails or the machine starts anew`,
      fix: "choose a folder on a disk, e.g. /var/lib/sluice",
    });
  } else if (disk && NETWORK.includes(disk.type)) {
    report.at(path, {
      severity: "warning",
      code: "network-disk",
      message: `${dir} lies on a network drive, on which SQLite cannot keep its promises`,
      fix: "choose a folder on a disk of this machine, e.g. /var/lib/sluice",
    });
  }
  return true;
}

export interface Disk {
  readonly type: number;
  /** For users other than root. */
  readonly bytesFree: number;
}

/** Undefined where the system does not say. */
export function diskOf(dir: string): Disk | undefined {
  try {
    const { type, bsize, bavail } = statfsSync(dir);
    return { type, bytesFree: bavail * bsize };
  } catch {
    return undefined;
  }
}

/** The folder itself, or the nearest one above that there is. */
export async function nearestFolder(dir: string): Promise<string> {
  const exists = await Deno.stat(dir).then(() => true, () => false);
  return exists || dirname(dir) === dir ? dir : await nearestFolder(dirname(dir));
}
