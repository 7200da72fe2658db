/**
 * What came from the broker and was not pulled yet, in the order of the wire.
 *
 * Promises that a pull takes everything that waits, as soon as the oldest has waited for `lingerMs`, and at once
 * when someone is in a hurry or 64 KiB wait; and that what was handed over and never acknowledged comes again when
 * the next reader begins, so that a reader that is stopped half-way loses nothing. Bounded by whoever fills it: `full`
 * says when to stop.
 */
import type { Clock, Timer } from "../clock.ts";
import type { Arrival } from "../message.ts";

export interface InboxOptions {
  readonly lingerMs: number;
  readonly clock: Clock;
  /** Called after everything was taken. */
  readonly onTaken: () => void;
}

/** So many waiting bytes are worth a commit of their own. */
const COMMIT_BYTES = 64 * 1024;
/**
 * So many waiting bytes are enough: the broker has to wait. It is what comes in a second of a slow fsync at 10,000
 * messages, and costs its fivefold in memory while it is on its way to the disk.
 */
export const INBOX_BYTES_MAX = 4 * 1024 * 1024;
/** What an arrival costs beside topic and payload, roughly. */
const ARRIVAL_BYTES = 160;

export class Inbox {
  readonly #options: InboxOptions;
  #waiting: Arrival[] = [];
  #bytes = 0;
  #oldestAt = 0;
  #hurried = false;
  #wake: (() => void) | undefined;
  #handed: readonly Arrival[] = [];

  constructor(options: InboxOptions) {
    this.#options = options;
  }

  /** Bytes that wait to be pulled. */
  get bytes(): number {
    return this.#bytes;
  }

  get full(): boolean {
    return this.#bytes >= INBOX_BYTES_MAX;
  }

  /** `packetBytes`: topic and payload. `hurry`: do not linger, the broker waits for an acknowledgement. */
  push(arrival: Arrival, packetBytes: number, hurry: boolean): void {
    if (this.#waiting.push(arrival) === 1) {
      this.#oldestAt = this.#options.clock.now();
      this.#wake?.();
    }
    this.#bytes += packetBytes + ARRIVAL_BYTES;
    if (this.#hurried || !hurry && this.#bytes < COMMIT_BYTES) return;
    this.#hurried = true;
    this.#wake?.();
  }

  /** The reader has made these durable: they will not come again. */
  settle(arrivals: readonly Arrival[]): void {
    if (arrivals === this.#handed) this.#handed = [];
    else if (this.#handed.length > 0) {
      const settled = new Set(arrivals);
      this.#handed = this.#handed.filter((arrival) => !settled.has(arrival));
    }
  }

  /** See `Source.arrivals`. One reader at a time. */
  async *arrivals(signal: AbortSignal): AsyncGenerator<readonly Arrival[]> {
    const onAbort = () => this.#wake?.();
    signal.addEventListener("abort", onAbort);
    try {
      if (this.#handed.length > 0 && !signal.aborted) yield this.#handed;
      while (await this.#ready(signal)) {
        this.#handed = this.#waiting;
        this.#waiting = [];
        this.#bytes = 0;
        this.#hurried = false;
        this.#options.onTaken();
        yield this.#handed;
      }
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  /** Waits until a pull is due; false when `signal` is aborted. */
  async #ready(signal: AbortSignal): Promise<boolean> {
    const { lingerMs, clock } = this.#options;
    while (!signal.aborted) {
      let timer: Timer | undefined;
      const woken = new Promise<void>((resolve) => this.#wake = resolve);
      if (this.#waiting.length > 0) {
        const waitMs = this.#oldestAt + lingerMs - clock.now();
        if (this.#hurried || waitMs <= 0) {
          this.#wake = undefined;
          return true;
        }
        timer = clock.timer(waitMs, () => this.#wake?.());
      }
      await woken;
      timer?.cancel();
      this.#wake = undefined;
    }
    return false;
  }
}
