/**
 * A wall clock that jumps when it is told, for programs that are started with its environment: libfaketime, of Debian's
 * package faketime. The monotonic clock goes on as it does in the kernel.
 */
const LIBRARIES = ["x86_64-linux-gnu", "aarch64-linux-gnu"].map((it) =>
  `/usr/lib/${it}/faketime/libfaketimeMT.so.1`
);

/** The library's path, or undefined where it is not installed. */
export function findFaketime(): string | undefined {
  return LIBRARIES.find((path) => {
    try {
      return Deno.statSync(path).isFile;
    } catch {
      return false;
    }
  });
}

export class FakeClock implements AsyncDisposable {
  readonly #file: string;
  /** For the program's environment. */
  readonly env: Readonly<Record<string, string>>;

  private constructor(file: string) {
    this.#file = file;
    this.env = {
      LD_PRELOAD: findFaketime()!,
      FAKETIME_TIMESTAMP_FILE: file,
      FAKETIME_NO_CACHE: "1",
      FAKETIME_DONT_FAKE_MONOTONIC: "1",
      DONT_FAKE_MONOTONIC: "1",
    };
  }

  /** Shows the true time at first. */
  static async open(): Promise<FakeClock> {
    const file = await Deno.makeTempFile({ prefix: "sluice-clock-" });
    const clock = new FakeClock(file);
    await clock.set(0);
    return clock;
  }

  /** From now on, seconds beside the true time. */
  async set(offsetSec: number): Promise<void> {
    // In one piece: it is read all the time.
    await Deno.writeTextFile(`${this.#file}.new`, `${offsetSec < 0 ? "" : "+"}${offsetSec}`);
    await Deno.rename(`${this.#file}.new`, this.#file);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.#file).catch(() => {});
  }
}
