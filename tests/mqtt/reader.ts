/**
 * A consumer of a source, as the gateway is one: pulls, keeps what came, and acknowledges when it may.
 */
import type { Source } from "../../src/contracts.ts";
import type { Arrival, Publish } from "../../src/message.ts";
import { waitFor } from "../servers/wait_for.ts";

export class Reader implements AsyncDisposable {
  readonly arrivals: Arrival[] = [];
  readonly batches: (readonly Arrival[])[] = [];
  /** Pulled and not acknowledged. */
  readonly held: (readonly Arrival[])[] = [];
  readonly #source: Source;
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;
  #holding: boolean;
  #paused: Promise<void> | undefined;

  /** `hold`: acknowledge nothing until `release`. */
  constructor(source: Source, { hold = false } = {}) {
    this.#source = source;
    this.#holding = hold;
    this.#done = this.#read();
  }

  get publishes(): Publish[] {
    return this.arrivals.filter((arrival) => arrival.kind === "publish");
  }

  get payloads(): string[] {
    return this.publishes.map(({ payload }) => new TextDecoder().decode(payload));
  }

  get kinds(): string[] {
    return this.arrivals.map(({ kind }) => kind);
  }

  /** Acknowledges what was held, in order, and from now on everything at once. */
  release(): void {
    this.#holding = false;
    for (const batch of this.held.splice(0)) this.#source.acknowledge(batch);
  }

  hold(): void {
    this.#holding = true;
  }

  /** Pulls no more until the returned function is called. */
  stopPulling(): () => void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#paused = promise;
    return resolve;
  }

  async until(condition: (reader: this) => boolean, what: string, timeoutMs?: number): Promise<void> {
    await waitFor(() => condition(this), { what: `${what}; came ${this.arrivals.length}`, timeoutMs });
  }

  /** Waits for so many publishes and returns all. */
  async count(publishes: number): Promise<Publish[]> {
    await this.until(() => this.publishes.length >= publishes, `${publishes} messages`);
    return this.publishes;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#done;
  }

  async #read(): Promise<void> {
    for await (const batch of this.#source.arrivals(this.#stop.signal)) {
      this.batches.push(batch);
      this.arrivals.push(...batch);
      if (this.#holding) this.held.push(batch);
      else this.#source.acknowledge(batch);
      await this.#paused;
    }
  }
}
