/**
 * Knows whether the other side is still there: sends PINGREQ once in every interval, and gives the connection up
 * when nothing at all was heard for half an interval after one (MQTT 5 section 3.1.2.10).
 *
 * Any byte counts as a sign of life. While we do not listen ourselves (`mute`), silence proves nothing: pings go on,
 * because the broker wants to hear from us, but the connection is not given up.
 */
import type { Clock, Timer } from "../clock.ts";

export interface KeepaliveOptions {
  readonly everyMs: number;
  readonly clock: Clock;
  /** Sends a PINGREQ. */
  readonly ping: () => void;
  /** Called once: nobody answers. */
  readonly dead: () => void;
}

export class Keepalive implements Disposable {
  readonly #options: KeepaliveOptions;
  #timer: Timer | undefined;
  #pingedAt = 0;
  #heardAt = 0;
  #muted = false;

  /** Begins to count at once. */
  constructor(options: KeepaliveOptions) {
    this.#options = options;
    this.#schedule(options.everyMs, () => this.#ping());
  }

  /** Something came. */
  heard(): void {
    this.#heardAt = this.#options.clock.now();
  }

  /** Whether we have stopped listening. */
  mute(on: boolean): void {
    this.#muted = on;
    this.heard();
  }

  [Symbol.dispose](): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #ping(): void {
    this.#pingedAt = this.#options.clock.now();
    this.#options.ping();
    this.#listen();
  }

  #listen(): void {
    const { everyMs, clock } = this.#options;
    const dueAt = clock.now() + everyMs / 2;
    this.#schedule(everyMs / 2, () => {
      if (this.#muted || this.#heardAt >= this.#pingedAt) {
        this.#schedule(this.#pingedAt + everyMs - clock.now(), () => this.#ping());
      } else if (clock.now() - dueAt > everyMs / 4) {
        // We were asleep ourselves (a frozen process, a busy machine): what came meanwhile is still unread.
        this.#listen();
      } else this.#options.dead();
    });
  }

  #schedule(delayMs: number, action: () => void): void {
    this.#timer = this.#options.clock.timer(delayMs, action);
  }
}
