/**
 * What faults change around the gateway: a small disk of its own under the spool, and the wall clock that it sees.
 *
 * The disk is a tmpfs, so it takes root; the clock takes libfaketime, Debian's package faketime. What cannot be had is
 * left out, and `missing` says so.
 */
const DISK = "16m";
const LIBRARIES = ["x86_64-linux-gnu", "aarch64-linux-gnu"].map((it) =>
  `/usr/lib/${it}/faketime/libfaketimeMT.so.1`
);

export class Surroundings implements AsyncDisposable {
  /** A folder on a disk of 16 MB. */
  readonly disk: string | undefined;
  /** For the gateway's environment. */
  readonly env: Readonly<Record<string, string>>;
  readonly missing: readonly string[];
  readonly #clockFile: string | undefined;

  private constructor(
    disk: string | undefined,
    clock: { file: string; library: string } | undefined,
  ) {
    this.disk = disk;
    this.#clockFile = clock?.file;
    this.env = clock
      ? {
        LD_PRELOAD: clock.library,
        FAKETIME_TIMESTAMP_FILE: clock.file,
        FAKETIME_NO_CACHE: "1",
        FAKETIME_DONT_FAKE_MONOTONIC: "1",
        DONT_FAKE_MONOTONIC: "1",
      }
      : {};
    this.missing = [
      ...(disk ? [] : ["a full disk (it takes root and mount)"]),
      ...(clock ? [] : ["a clock that jumps (it takes Debian's package faketime)"]),
    ];
  }

  static async open(): Promise<Surroundings> {
    const dir = await Deno.makeTempDir({ prefix: "sluice-disk-" });
    const mounted = await succeeds("mount", ["-t", "tmpfs", "-o", `size=${DISK}`, "none", dir]);
    if (!mounted) await Deno.remove(dir);
    const library = findFaketime();
    if (!library) return new Surroundings(mounted ? dir : undefined, undefined);
    const file = await Deno.makeTempFile({ prefix: "sluice-clock-" });
    await Deno.writeTextFile(file, "+0");
    return new Surroundings(mounted ? dir : undefined, { file, library });
  }

  /** Takes all that is left of the disk. */
  async fill(): Promise<void> {
    using file = await Deno.open(`${this.disk}/filler`, { create: true, append: true });
    try {
      const block = new Uint8Array(64 * 1024).fill(1);
      while (true) await file.write(block);
    } catch {
      // It is full.
    }
  }

  async free(): Promise<void> {
    await Deno.remove(`${this.disk}/filler`).catch(() => {});
  }

  get hasClock(): boolean {
    return this.#clockFile !== undefined;
  }

  /** The gateway's wall clock from now on, seconds beside the true time. */
  async setClock(offsetSec: number): Promise<void> {
    await Deno.writeTextFile(this.#clockFile!, `${offsetSec < 0 ? "" : "+"}${offsetSec}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.disk) {
      await succeeds("umount", ["-l", this.disk]);
      await Deno.remove(this.disk).catch(() => {});
    }
    if (this.#clockFile) await Deno.remove(this.#clockFile).catch(() => {});
  }
}

/** Path of the library that sets a process's clock, or undefined where it is not installed. */
export function findFaketime(): string | undefined {
  return LIBRARIES.find((path) => {
    try {
      return Deno.statSync(path).isFile;
    } catch {
      return false;
    }
  });
}

async function succeeds(command: string, args: string[]): Promise<boolean> {
  try {
    const { success } = await new Deno.Command(command, { args, stdout: "null", stderr: "null" }).output();
    return success;
  } catch {
    return false;
  }
}
