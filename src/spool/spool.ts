/**
 * The spool as the gateway sees it: `Spool` over the worker that holds the file. (See `store.ts` for what is on disk.)
 *
 * Promises what `contracts.ts` says. Requests are answered in their order; an append that must wait for space is held
 * here, not in the worker, so that settling goes on and makes the space.
 */
import type { Appended, Outcome, Spool, SpoolStats } from "../contracts.ts";
import { GiveUpError } from "../errors.ts";
import type { Address, Arrival, Batch, DeadLetter } from "../message.ts";
import { decodeFrame, encodeArrivals } from "./frame.ts";
import type { Frames, StoredLetter } from "./store.ts";
import { type Opened, type Picture, type Reply, type Request, startWorker } from "./worker.ts";

export interface SpoolOptions {
  readonly path: string;
  readonly bytesMax?: number;
  readonly onLane?: (lane: string) => void;
  readonly graceMs?: number;
  readonly batchCountMax?: number;
  readonly batchBytesMax?: number;
}

class Rpc {
  readonly #worker = startWorker();
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  readonly failed = Promise.withResolvers<never>();
  picture: Picture | undefined;
  #id = 0;

  constructor() {
    this.failed.promise.catch(() => {});
    this.#worker.onmessage = ({ data }: MessageEvent<Reply>) => {
      const call = this.#waiting.get(data.id)!;
      this.#waiting.delete(data.id);
      if (data.ok) {
        this.picture = data.picture;
        call.resolve(data.value);
      } else call.reject(new GiveUpError(`the spool failed: ${data.error}`));
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      const error = new GiveUpError(`the spool's thread ended: ${event.message}`);
      this.failed.reject(error);
      for (const call of this.#waiting.values()) call.reject(error);
    };
  }

  call<T>(request: Request, transfer: Transferable[] = []): Promise<T> {
    const call = Promise.withResolvers<unknown>();
    const id = ++this.#id;
    this.#waiting.set(id, call);
    this.#worker.postMessage({ id, request }, transfer);
    return call.promise as Promise<T>;
  }

  end(): void {
    this.#worker.terminate();
  }
}

export async function openSpool(options: SpoolOptions): Promise<SqliteSpool> {
  const rpc = new Rpc();
  const opened = await rpc.call<Opened>({
    op: "open",
    path: options.path,
    graceMs: options.graceMs ?? 600_000,
  });
  return new SqliteSpool(rpc, opened, options);
}

export class SqliteSpool implements Spool {
  readonly #rpc: Rpc;
  readonly #options: SpoolOptions;
  readonly #lanes: Set<string>;
  readonly #wake = new Map<string, PromiseWithResolvers<void>>();
  identity: string;
  readonly highestAtOpen: number;

  constructor(rpc: Rpc, opened: Opened, options: SpoolOptions) {
    this.#rpc = rpc;
    this.#options = options;
    this.#lanes = new Set(opened.lanes);
    this.identity = opened.identity;
    this.highestAtOpen = opened.highestAtOpen;
  }

  /** Rejects when the spool's thread ends by itself. */
  get failed(): Promise<never> {
    return this.#rpc.failed.promise;
  }

  get lanes(): readonly string[] {
    return [...this.#lanes];
  }

  async append(
    arrivals: readonly Arrival[],
    address: (topic: string) => readonly Address[],
  ): Promise<Appended> {
    const addresses: Address[] = [];
    const numbers = new Map<Address, number>();
    const buffer = encodeArrivals(arrivals, (topic) =>
      address(topic).map((it) => {
        let number = numbers.get(it);
        if (number === undefined) numbers.set(it, number = addresses.push(it) - 1);
        return number;
      }));
    const { counts } = await this.#rpc.call<{ counts: Appended }>({
      op: "append",
      buffer,
      addresses,
      dropQos0: false,
    }, [buffer]);
    for (const { lane } of addresses) {
      if (!this.#lanes.has(lane)) {
        this.#lanes.add(lane);
        this.#options.onLane?.(lane);
      }
      this.#wake.get(lane)?.resolve();
    }
    return counts;
  }

  async *batches(lane: string, signal: AbortSignal): AsyncIterable<Batch> {
    const { batchCountMax = 1_000, batchBytesMax = 1 << 20 } = this.#options;
    while (!signal.aborted) {
      const wake = Promise.withResolvers<void>();
      this.#wake.set(lane, wake);
      const onAbort = () => wake.resolve();
      signal.addEventListener("abort", onAbort, { once: true });
      try {
        const frames = await this.#rpc.call<(Frames & { routes: Map<number, string> }) | null>({
          op: "read",
          lane,
          countMax: batchCountMax,
          bytesMax: batchBytesMax,
        });
        if (frames === null) {
          if (!signal.aborted) await wake.promise;
          continue;
        }
        yield batchOf(lane, frames);
      } finally {
        signal.removeEventListener("abort", onAbort);
      }
    }
  }

  async settle(batch: Batch, outcome: Outcome): Promise<void> {
    await this.#rpc.call({
      op: "settle",
      lane: batch.lane,
      last: batch.last,
      outcome: { stored: outcome.stored, filtered: outcome.filtered, rows: outcome.rows },
      dead: outcome.dead.map(stored),
      memory: [...outcome.memory ?? []],
    });
  }

  rewind(lane: string, upto: number): Promise<number> {
    return this.#rpc.call({ op: "rewind", lane, upto });
  }

  keptAfter(lane: string): Promise<number> {
    return this.#rpc.call({ op: "keptAfter", lane });
  }

  async renew(upto: number): Promise<string> {
    return this.identity = await this.#rpc.call<string>({ op: "renew", upto });
  }

  async memory(): Promise<ReadonlyMap<string, string>> {
    return new Map(await this.#rpc.call<[string, string][]>({ op: "memory" }));
  }

  get stats(): SpoolStats {
    const { totals, lanes } = this.#rpc.picture!;
    const pending = totals.deliveries - totals.stored - totals.filtered - totals.dead - totals.dropped;
    return {
      bytes: 0,
      bytesMax: this.#options.bytesMax ?? 2 ** 30,
      entries: pending,
      totals: { ...totals, pending },
      lanes: Object.fromEntries(
        lanes.map(([name, count]) => [name, { pending: count, oldestReceivedAtMs: null }]),
      ),
      deadLetters: 0,
      full: false,
      bytesWritten: 0,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#rpc.call({ op: "close" }).catch(() => {});
    this.#rpc.end();
  }

  async park(letters: readonly DeadLetter[]): Promise<void> {
    await this.#rpc.call({ op: "park", letters: letters.map(stored) });
  }
}

function stored(letter: DeadLetter): StoredLetter {
  return { ...letter, payload: letter.payload.slice() };
}

function batchOf(
  lane: string,
  { parts, after, last, parked, routes }: Frames & { routes: Map<number, string> },
): Batch {
  const deliveries = parts.flatMap(({ first, data }) =>
    decodeFrame(data, first, (route) => routes.get(route) ?? "?")
  )
    .filter((it) => it.sequence > after);
  return { lane, after, last, deliveries, parked: new Set(parked) };
}
