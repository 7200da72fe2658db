/**
 * A small disk of its own for one server: a tmpfs, which takes root. It can be filled to the last byte and freed.
 */
export class SmallDisk implements AsyncDisposable {
  private constructor(readonly path: string) {}

  /** Throws where it may not be mounted; ask `mayMount` before. */
  static async mount(megabytes: number): Promise<SmallDisk> {
    const path = await Deno.makeTempDir({ prefix: "sluice-disk-" });
    if (await succeeds("mount", "-t", "tmpfs", "-o", `size=${megabytes}m`, "none", path)) {
      return new SmallDisk(path);
    }
    await Deno.remove(path);
    throw new Error("no tmpfs can be mounted here");
  }

  /** Takes all that is left. */
  async fill(): Promise<void> {
    using file = await Deno.open(`${this.path}/filler`, { create: true, append: true });
    try {
      const block = new Uint8Array(64 * 1024).fill(1);
      while (true) await file.write(block);
    } catch {
      // It is full.
    }
  }

  async free(): Promise<void> {
    await Deno.remove(`${this.path}/filler`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await succeeds("umount", "-l", this.path);
    await Deno.remove(this.path).catch(() => {});
  }
}

/** Whether this process may mount a tmpfs. */
export async function mayMount(): Promise<boolean> {
  if (Deno.uid() !== 0) return false;
  const disk = await SmallDisk.mount(1).catch(() => null);
  await disk?.[Symbol.asyncDispose]();
  return disk !== null;
}

async function succeeds(command: string, ...args: string[]): Promise<boolean> {
  try {
    const { success } = await new Deno.Command(command, { args, stdout: "null", stderr: "null" }).output();
    return success;
  } catch {
    return false;
  }
}
