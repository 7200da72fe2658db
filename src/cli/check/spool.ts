/**
 * Where messages wait: whether they can, how much room there is, and what waits already for routes that are gone.
 */
import { dirname } from "node:path";
import { routerOf } from "../../gateway/parts.ts";
import { SluiceError } from "../../errors.ts";
import { SpoolReader } from "../../spool/reader.ts";
import { formatSize } from "../../units.ts";
import { checkFolder, diskOf, nearestFolder } from "./folder.ts";
import type { FileReport } from "./report.ts";

const PATH = ["spool", "path"];
/** Waiting messages that are looked at: enough to see what is wrong, few enough to be done at once. */
const LOOKED_AT_MAX = 10_000;

export async function checkSpool(report: FileReport): Promise<void> {
  const { path } = report.loaded.config.spool;
  const dir = await nearestFolder(dirname(path));
  if (!await checkFolder(report, PATH, dir, "the spool")) return;
  const bytes = await Deno.stat(path).then((it) => it.size, () => undefined);
  room(report, dir, bytes ?? 0);
  if (bytes !== undefined) waiting(report, path);
}

function room(report: FileReport, dir: string, bytes: number): void {
  const { maxSize } = report.loaded.config.spool;
  const disk = diskOf(dir);
  if (!disk || disk.bytesFree + bytes >= maxSize) return;
  const fits = Math.floor((disk.bytesFree + bytes) * 0.8 / 2 ** 20);
  report.at(["spool", "maxSize"], {
    severity: "warning",
    code: "disk-space",
    message:
      `the disk has ${formatSize(disk.bytesFree)} free, and the spool may become ${formatSize(maxSize)}: ` +
      "a full disk stops everything that writes to it",
    fix: `make room, or "maxSize": "${Math.max(1, fits)}MiB"`,
  });
}

/** What waits for a route that is no longer in the file becomes dead letters as soon as the gateway runs with it. */
function waiting(report: FileReport, path: string): void {
  const router = routerOf(report.loaded.config, new Map());
  const orphans = new Map<string, number>();
  let looked = 0;
  try {
    using reader = new SpoolReader(path);
    for (const { topic, route } of reader.waiting(undefined, () => {})) {
      if (++looked > LOOKED_AT_MAX) break;
      if (router.address(topic).some((it) => it.route === route)) continue;
      orphans.set(route, (orphans.get(route) ?? 0) + 1);
    }
  } catch (error) {
    if (!(error instanceof SluiceError)) throw error;
    report.at(PATH, { severity: "warning", code: "spool", message: error.message, fix: error.hint });
    return;
  }
  for (const [route, n] of orphans) {
    report.at(["routes"], {
      severity: "warning",
      code: "route-gone",
      message: `${looked > LOOKED_AT_MAX ? "at least " : ""}${n} message${
        n === 1 ? "" : "s"
      } in the spool wait${
        n === 1 ? "s" : ""
      } for the route "${route}", which is no longer in the file: they become dead letters`,
      fix:
        "sluice spool export saves them now; sluice dead replay --to TABLE sends them to another table later",
    });
  }
}
