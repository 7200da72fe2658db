/**
 * A spool whose file was deleted or replaced while it was in use. SQLite still holds it open: what is in it is written
 * out once more, so that a slip of the hand costs nothing.
 */
import { systemClock } from "../clock.ts";
import { messageOf } from "../errors.ts";
import { SpoolFile } from "./file.ts";
import { removeIfThere } from "./identity.ts";
import { rescue } from "./rescue.ts";

/** Returns what was done, for people. Where another file lies in its place the copy is set beside it. */
export function saveRemoved(file: SpoolFile, path: string, replaced: boolean): string {
  const copy = `${path}.saving`;
  const tidy = () => ["", "-wal", "-shm"].forEach((suffix) => removeIfThere(copy + suffix));
  tidy();
  let lost: readonly string[];
  try {
    file.rollback();
    lost = copyTo(copy, file);
  } catch (error) {
    tidy();
    return `what was in it could not be saved: ${messageOf(error)}`;
  }
  const time = new Date(systemClock.wallMs()).toISOString().replaceAll(":", "");
  const target = replaced ? `${path}.replaced-${time}` : path;
  // The log that lies there belongs to the file that is gone.
  for (const suffix of ["-wal", "-shm"]) removeIfThere(path + suffix);
  Deno.renameSync(copy, target);
  const done = replaced
    ? `what was in it was saved as ${target}, and the gateway would go on with the other file`
    : "what was in it was put back";
  return lost.length > 0 ? `${done}; not readable: ${lost.join("; ")}` : done;
}

/**
 * Row by row: `VACUUM INTO` attaches the copy, which Deno refuses to programs that may not do everything. Returns what
 * could not be read.
 */
function copyTo(path: string, source: SpoolFile): readonly string[] {
  const target = new SpoolFile(path);
  let lost: readonly string[];
  try {
    ({ lost } = rescue(source, target));
  } finally {
    target.close();
  }
  using file = Deno.openSync(path, { write: true });
  file.syncSync();
  return lost;
}
