/**
 * A disk of one's own, a few megabytes small, that can be filled to the last byte or turn read-only under its users.
 *
 * "tmpfs" lives in memory; "ext4" in a file, and can do what a kernel does when a disk fails: go on read-only. It takes
 * root, and for ext4 a loop device. Gone after the test.
 */
import { findProgram } from "./find_program.ts";

export interface SmallDiskOptions {
  readonly megabytes: number;
  /** @default "tmpfs" */
  readonly kind?: "tmpfs" | "ext4";
}

export class SmallDisk implements AsyncDisposable {
  /** Where it is mounted. */
  readonly dir: string;
  readonly #image: string | undefined;

  private constructor(dir: string, image?: string) {
    this.dir = dir;
    this.#image = image;
  }

  static async open({ megabytes, kind = "tmpfs" }: SmallDiskOptions): Promise<SmallDisk> {
    const dir = await Deno.makeTempDir({ prefix: "sluice-disk-" });
    if (kind === "tmpfs") {
      await run("mount", "-t", "tmpfs", "-o", `size=${megabytes}m`, "none", dir);
      return new SmallDisk(dir);
    }
    const image = `${dir}.image`;
    using file = await Deno.open(image, { create: true, write: true });
    await file.truncate(megabytes * 1024 * 1024);
    await run("mkfs.ext4", "-q", "-m", "0", image);
    const disk = new SmallDisk(dir, image);
    await disk.mount();
    return disk;
  }

  /** ext4: puts it in, after a check as at every start of a machine. */
  async mount(): Promise<void> {
    await run("e2fsck", "-fy", this.#image!).catch(() => {});
    await run("mount", "-o", "loop", this.#image!, this.dir);
  }

  /** ext4: takes it out. */
  async unmount(): Promise<void> {
    await run("umount", this.dir);
  }

  /** Nothing more is written; ext4: whoever has files open, as the kernel does after an error of the disk. */
  async turnReadOnly(): Promise<void> {
    await run("mount", "-o", this.#image ? "remount,abort" : "remount,ro", this.dir);
  }

  /** Takes all that is left. */
  async fill(): Promise<void> {
    using file = await Deno.open(`${this.dir}/filler`, { create: true, append: true });
    for (let bytes = 64 * 1024; bytes > 0; bytes = Math.floor(bytes / 2)) {
      try {
        const block = new Uint8Array(bytes).fill(1);
        while (true) await file.write(block);
      } catch {
        // It is full, but for less than this.
      }
    }
  }

  /** Gives back what `fill` took. */
  async free(): Promise<void> {
    await Deno.remove(`${this.dir}/filler`).catch(() => {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await run("umount", "-l", this.dir).catch(() => {});
    await Deno.remove(this.dir).catch(() => {});
    if (this.#image) await Deno.remove(this.#image).catch(() => {});
  }
}

/** Whether this process may mount a tmpfs. */
export function canMount(): boolean {
  if (Deno.uid() !== 0) return false;
  const dir = Deno.makeTempDirSync({ prefix: "sluice-disk-" });
  try {
    return succeeds("mount", "-t", "tmpfs", "none", dir) && succeeds("umount", dir);
  } finally {
    Deno.removeSync(dir);
  }
}

/** Whether this process may mount an ext4 through a loop device. */
export function canMakeExt4(): boolean {
  if (!canMount() || !findProgram("mkfs.ext4")) return false;
  const image = Deno.makeTempFileSync({ prefix: "sluice-disk-" });
  const dir = Deno.makeTempDirSync({ prefix: "sluice-disk-" });
  try {
    Deno.truncateSync(image, 1024 * 1024);
    return succeeds("mkfs.ext4", "-q", image) && succeeds("mount", "-o", "loop", image, dir) &&
      succeeds("umount", dir);
  } finally {
    Deno.removeSync(dir);
    Deno.removeSync(image);
  }
}

function succeeds(command: string, ...args: string[]): boolean {
  try {
    return new Deno.Command(command, { args, stdout: "null", stderr: "null" }).outputSync().success;
  } catch {
    return false;
  }
}

async function run(command: string, ...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(command, { args, stdout: "null", stderr: "piped" })
    .output();
  if (!success) throw new Error(`${command} ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
}
