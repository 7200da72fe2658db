/**
 * A disk of one's own, a few megabytes small, that can be filled to the last byte: a tmpfs, which takes root. Gone after
 * the test.
 */
export class SmallDisk implements AsyncDisposable {
  private constructor(
    /** Where it is mounted. */
    readonly dir: string,
  ) {}

  /** Throws where nothing may be mounted; ask `canMount` before. */
  static async open({ megabytes }: { readonly megabytes: number }): Promise<SmallDisk> {
    const dir = await Deno.makeTempDir({ prefix: "sluice-disk-" });
    if (succeeds("mount", "-t", "tmpfs", "-o", `size=${megabytes}m`, "none", dir)) return new SmallDisk(dir);
    await Deno.remove(dir);
    throw new Error("no tmpfs can be mounted here");
  }

  /** Takes all that is left. */
  async fill(): Promise<void> {
    using file = await Deno.open(`${this.dir}/filler`, { create: true, append: true });
    try {
      const block = new Uint8Array(64 * 1024).fill(1);
      while (true) await file.write(block);
    } catch {
      // It is full.
    }
  }

  /** Gives back what `fill` took. */
  async free(): Promise<void> {
    await Deno.remove(`${this.dir}/filler`).catch(() => {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    succeeds("umount", "-l", this.dir);
    await Deno.remove(this.dir).catch(() => {});
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

function succeeds(command: string, ...args: string[]): boolean {
  try {
    return new Deno.Command(command, { args, stdout: "null", stderr: "null" }).outputSync().success;
  } catch {
    return false;
  }
}
