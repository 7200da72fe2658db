/**
 * The promises of `contracts.ts` in memory, written by hand: a spool that forgets nothing and a sink that does what
 * a test tells it. They keep what was asked of them, for the test to look at.
 */
import type {
  Appended,
  Decoded,
  Outcome,
  Router,
  Sink,
  Spool,
  SpoolStats,
  WriteRequest,
  Written,
} from "../../src/contracts.ts";
import type { Batch, DeadLetter, Delivery, Shape } from "../../src/message.ts";

export const SHAPE: Shape = {
  table: "climate",
  columns: [{ name: "payload", type: undefined, role: "payload" }],
  onDuplicateKey: "error",
  key: [],
};

export function delivery(sequence: number, payload = "x"): Delivery {
  const bytes = new TextEncoder().encode(payload);
  return { sequence, route: "r", topic: "t", payload: bytes, qos: 1, retain: false, receivedAtMs: sequence };
}

export class FakeSpool implements Spool {
  identity = "spool-1";
  highestAtOpen = 0;
  readonly lanes = ["climate"];
  readonly settled: { batch: Batch; outcome: Outcome }[] = [];
  readonly parked: DeadLetter[] = [];
  readonly rewinds: number[] = [];
  readonly renewals: number[] = [];
  /** What `keptAfter` answers. */
  kept = 0;
  batchSize = 2;
  #position = 0;
  #changed = Promise.withResolvers<void>();

  constructor(readonly entries: Delivery[]) {}

  append(): Promise<Appended> {
    throw new Error("not used here");
  }

  async *batches(lane: string, signal: AbortSignal): AsyncIterable<Batch> {
    while (!signal.aborted) {
      const deliveries = this.entries.filter((it) => it.sequence > this.#position).slice(0, this.batchSize);
      if (deliveries.length === 0) {
        const aborted = new Promise<void>((resolve) =>
          signal.addEventListener("abort", () => resolve(), { once: true })
        );
        await Promise.race([this.#changed.promise, aborted]);
        continue;
      }
      const parked = new Set(this.parked.map((it) => it.sequence));
      const last = deliveries.at(-1)!.sequence;
      yield { lane, spool: this.identity, after: this.#position, last, deliveries, parked };
    }
  }

  settle(batch: Batch, outcome: Outcome): Promise<void> {
    this.settled.push({ batch, outcome });
    this.#position = batch.last;
    return Promise.resolve();
  }

  park(letters: readonly DeadLetter[]): Promise<void> {
    this.parked.push(...letters);
    return Promise.resolve();
  }

  keptAfter(): Promise<number> {
    return Promise.resolve(this.kept);
  }

  rewind(_lane: string, upto: number): Promise<number> {
    this.rewinds.push(upto);
    this.#position = Math.max(upto, this.kept);
    return Promise.resolve(this.#position);
  }

  renew(_lane: string, upto: number): Promise<string> {
    this.renewals.push(upto);
    this.identity = "spool-2";
    this.#position = upto;
    return Promise.resolve(this.identity);
  }

  memory(): Promise<ReadonlyMap<string, string>> {
    return Promise.resolve(new Map());
  }

  ping(): Promise<void> {
    return Promise.resolve();
  }

  get stats(): SpoolStats {
    return { entries: 0, lanes: {} } as unknown as SpoolStats;
  }

  async [Symbol.asyncDispose]() {}
}

/** Makes one row of each delivery, but a dead letter of payload "broken" and nothing of payload "filtered". */
export const router: Router = {
  filters: ["#"],
  address: () => [{ lane: "climate", route: "r" }],
  decode(lane, deliveries): Decoded {
    const text = (it: Delivery) => new TextDecoder().decode(it.payload);
    return {
      rows: deliveries.filter((it) => text(it) !== "broken" && text(it) !== "filtered")
        .map((it) => ({ sequence: it.sequence, shape: SHAPE, values: [it.payload] })),
      dead: deliveries.filter((it) => text(it) === "broken")
        .map((it) => ({ ...it, lane, reason: "broken", errno: null })),
      filtered: deliveries.filter((it) => text(it) === "filtered").length,
      memory: [],
    };
  },
  remember: ({ memory }) => memory,
  kept: [],
  takeHours: () => [],
  returnHours: () => {},
};

/** Answers each write with the next of `answers`, and with success after the last. */
export class FakeSink implements Sink {
  readonly requests: WriteRequest[] = [];
  onWrite: (request: WriteRequest) => void = () => {};

  constructor(readonly answers: ((request: WriteRequest) => Promise<Written>)[] = []) {}

  async write(request: WriteRequest): Promise<Written> {
    this.requests.push(request);
    const answer = this.answers.shift();
    const written = answer ? await answer(request) : { rows: request.rows.length, refused: 0 };
    this.onWrite(request);
    return written;
  }

  ping(): Promise<void> {
    return Promise.resolve();
  }

  async [Symbol.asyncDispose]() {}
}
