/**
 * A disk that is slow, fails, or keeps a diary, for a program that is started with its environment: `faulty_disk.c`,
 * compiled into a scratch folder and preloaded. Orders take effect at once, while the program runs.
 */

/** What the disk shall do from now on; what is left out it does as every disk. Counts begin anew with each order. */
export interface Orders {
  /** How much longer an fsync takes. */
  readonly fsyncMs?: number;
  /** The error number of fsync, and how often; always, where `times` is left out. */
  readonly fsyncFails?: { readonly errno: number; readonly times?: number };
  readonly writeFails?: { readonly errno: number; readonly times?: number };
  /** Delays and errors only for files whose name ends so. */
  readonly suffix?: string;
  /** Where to note what is done, for `readDiary`. */
  readonly diary?: string;
}

export const EIO = 5;
export const ENOSPC = 28;
export const EROFS = 30;

export class FaultyDisk implements AsyncDisposable {
  /** For the program's environment. */
  readonly env: Readonly<Record<string, string>>;
  readonly #dir: string;
  readonly #folder: string;
  #number = 0;

  private constructor(dir: string, folder: string) {
    this.#dir = dir;
    this.#folder = folder;
    this.env = { LD_PRELOAD: `${dir}/faulty_disk.so`, SLUICE_DISK: `${dir}/orders` };
  }

  /** Everything below `folder` lies on it. */
  static async open(folder: string, orders: Orders = {}): Promise<FaultyDisk> {
    const dir = await Deno.makeTempDir({ prefix: "sluice-faulty-" });
    const disk = new FaultyDisk(dir, await Deno.realPath(folder));
    const source = new URL("faulty_disk.c", import.meta.url).pathname;
    const { success, stderr } = await new Deno.Command("gcc", {
      args: ["-Wall", "-O1", "-shared", "-fPIC", "-o", disk.env.LD_PRELOAD, source, "-lpthread"],
      stdout: "null",
      stderr: "piped",
    }).output();
    if (!success) throw new Error(new TextDecoder().decode(stderr));
    await disk.order(orders);
    return disk;
  }

  async order({ fsyncMs, fsyncFails, writeFails, suffix, diary }: Orders): Promise<void> {
    const lines = [
      `number ${++this.#number}`,
      `folder ${this.#folder}`,
      ...(suffix ? [`suffix ${suffix}`] : []),
      ...(fsyncMs ? [`fsync_ms ${fsyncMs}`] : []),
      ...(fsyncFails ? [`fsync ${fsyncFails.errno} ${fsyncFails.times ?? -1}`] : []),
      ...(writeFails ? [`write ${writeFails.errno} ${writeFails.times ?? -1}`] : []),
      ...(diary ? [`log ${diary}`] : []),
    ];
    await Deno.writeTextFile(`${this.#dir}/new`, lines.join("\n"));
    await Deno.rename(`${this.#dir}/new`, `${this.#dir}/orders`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.#dir, { recursive: true });
  }
}

/** What was done to a file of the folder, in the order in which it was done. */
export type DiskEvent =
  | { readonly kind: "write"; readonly path: string; readonly at: number; readonly bytes: Uint8Array }
  | { readonly kind: "sync"; readonly path: string }
  | { readonly kind: "truncate"; readonly path: string; readonly length: number }
  | { readonly kind: "rename"; readonly path: string; readonly to: string }
  | { readonly kind: "unlink"; readonly path: string };

const HEAD_BYTES = 1 + 4 + 8 + 8;

/** Reads what `faulty_disk.c` has noted; a record that is not complete at the end is left out. */
export function readDiary(path: string): DiskEvent[] {
  const bytes = Deno.readFileSync(path);
  const view = new DataView(bytes.buffer);
  const text = (from: number, to: number) => new TextDecoder().decode(bytes.subarray(from, to));
  const events: DiskEvent[] = [];
  for (let at = 0; at + HEAD_BYTES <= bytes.length;) {
    const kind = String.fromCharCode(bytes[at]);
    const pathEnd = at + HEAD_BYTES + view.getUint32(at + 1, true);
    const offset = Number(view.getBigUint64(at + 5, true));
    const length = Number(view.getBigUint64(at + 13, true));
    const path = text(at + HEAD_BYTES, pathEnd);
    const end = kind === "W" || kind === "R" ? pathEnd + length : pathEnd;
    if (end > bytes.length) break;
    if (kind === "W") events.push({ kind: "write", path, at: offset, bytes: bytes.subarray(pathEnd, end) });
    else if (kind === "S") events.push({ kind: "sync", path });
    else if (kind === "T") events.push({ kind: "truncate", path, length: offset });
    else if (kind === "R") events.push({ kind: "rename", path, to: text(pathEnd, end) });
    else events.push({ kind: "unlink", path });
    at = end;
  }
  return events;
}
