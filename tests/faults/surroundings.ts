/**
 * What faults change around the gateway: a small disk of its own under the spool, and the wall clock that it sees.
 *
 * What cannot be had is left out, and `missing` says so.
 */
import { FakeClock } from "../servers/fake_clock.ts";
import { isAvailable } from "../servers/needs.ts";
import { SmallDisk } from "../servers/small_disk.ts";

const DISK_MEGABYTES = 16;

export class Surroundings implements AsyncDisposable {
  readonly missing: readonly string[];
  readonly #disk: SmallDisk | undefined;
  readonly #clock: FakeClock | undefined;

  private constructor(disk: SmallDisk | undefined, clock: FakeClock | undefined) {
    this.#disk = disk;
    this.#clock = clock;
    this.missing = [
      ...(disk ? [] : ["a full disk (it takes root and mount)"]),
      ...(clock ? [] : ["a clock that jumps (it takes Debian's package faketime)"]),
    ];
  }

  static async open(): Promise<Surroundings> {
    return new Surroundings(
      isAvailable("smallDisk") ? await SmallDisk.open({ megabytes: DISK_MEGABYTES }) : undefined,
      isAvailable("fakeClock") ? await FakeClock.open() : undefined,
    );
  }

  /** A folder on a disk of 16 MB. */
  get disk(): string | undefined {
    return this.#disk?.dir;
  }

  /** For the gateway's environment. */
  get env(): Readonly<Record<string, string>> {
    return this.#clock?.env ?? {};
  }

  /** Takes all that is left of the disk. */
  async fill(): Promise<void> {
    await this.#disk!.fill();
  }

  async free(): Promise<void> {
    await this.#disk!.free();
  }

  get hasClock(): boolean {
    return this.#clock !== undefined;
  }

  /** The gateway's wall clock from now on, seconds beside the true time. */
  async setClock(offsetSec: number): Promise<void> {
    await this.#clock!.set(offsetSec);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#disk?.[Symbol.asyncDispose]();
    await this.#clock?.[Symbol.asyncDispose]();
  }
}
