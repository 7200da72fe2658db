/**
 * The spool as the gateway sees it: `Spool` over the thread that holds the file (`store.ts` says what is on disk).
 *
 * Promises what `contracts.ts` says. Questions are answered in their order; an append that must wait for space waits
 * here, not in the thread, so that settling goes on and makes the space.
 */
import { sleep } from "../clock.ts";
import type { Appended, Outcome, Spool, SpoolStats } from "../contracts.ts";
import type { Address, Arrival, Batch, DeadLetter, QoS } from "../message.ts";
import { decodeFrame, encodeArrivals } from "./frame.ts";
import { SpoolRpc } from "./rpc.ts";
import type { StoredLetter } from "./stored.ts";
import type { Full, Opened, ReadAnswer } from "./worker.ts";

export interface SpoolOptions {
  readonly path: string;
  /** @default 1 GiB */
  readonly bytesMax?: number;
  /** @default "block" */
  readonly onFull?: "block" | "dropOldest";
  /** Told of each lane that begins. */
  readonly onLane?: (lane: string) => void;
  /** Told when appending has to wait for space, and with null when it goes on. */
  readonly onFullChange?: (reason: string | null) => void;
  /** How long settled entries stay on disk, in case the database loses them. @default 10 minutes */
  readonly graceMs?: number;
  /** @default 1000 */
  readonly batchCountMax?: number;
  /** @default 1 MiB */
  readonly batchBytesMax?: number;
}

const BYTES_MAX = 2 ** 30;
const GRACE_MS = 10 * 60_000;
const FULL_RETRY_MS = 250;
const REPLAY_EVERY_MS = 1_000;

type Addressing = (topic: string) => readonly Address[];

/** A dead letter that someone wants to be sent on its way again. */
interface Replayable {
  readonly id: number;
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: QoS;
  readonly retain: number;
  readonly receivedAtMs: number;
}

/** Opens the spool. Throws `GiveUpError` where it cannot be opened; what had to be mended is in `notes`. */
export async function openSpool(options: SpoolOptions): Promise<SqliteSpool> {
  const rpc = new SpoolRpc();
  const { path, bytesMax = BYTES_MAX, graceMs = GRACE_MS, onFull } = options;
  try {
    const opened = await rpc.call<Opened>({
      op: "open",
      path,
      graceMs,
      bytesMax,
      dropOldest: onFull === "dropOldest",
    });
    return new SqliteSpool(rpc, opened, options);
  } catch (error) {
    rpc.end();
    throw error;
  }
}

export class SqliteSpool implements Spool {
  readonly notes: readonly string[];
  readonly highestAtOpen: number;
  readonly #rpc: SpoolRpc;
  readonly #options: SpoolOptions;
  readonly #lanes: Set<string>;
  readonly #news = new Map<string, PromiseWithResolvers<void>>();
  readonly #replayer: ReturnType<typeof setInterval>;
  #identity: string;
  #addressing: Addressing | undefined;
  #full = false;
  #closed = false;

  constructor(rpc: SpoolRpc, { identity, highestAtOpen, lanes, notes }: Opened, options: SpoolOptions) {
    this.#rpc = rpc;
    this.#options = options;
    this.#lanes = new Set(lanes);
    this.#identity = identity;
    this.highestAtOpen = highestAtOpen;
    this.notes = notes;
    this.#replayer = setInterval(() => void this.#replay().catch(() => {}), REPLAY_EVERY_MS);
    Deno.unrefTimer(this.#replayer as unknown as number);
  }

  get identity(): string {
    return this.#identity;
  }

  /** Rejects when the spool's thread ends by itself. */
  get failed(): Promise<never> {
    return this.#rpc.failed;
  }

  get lanes(): readonly string[] {
    return [...this.#lanes];
  }

  async append(arrivals: readonly Arrival[], address: Addressing, signal?: AbortSignal): Promise<Appended> {
    this.#addressing = address;
    const mayWait = arrivals.some((it) => it.kind !== "publish" || it.qos > 0);
    while (true) {
      const { buffer, addresses } = encode(arrivals, address);
      const answer = await this.#rpc.call<Appended | Full>({ op: "append", buffer, addresses, mayWait }, [
        buffer,
      ]);
      if (!("full" in answer)) {
        this.#setFull(null);
        this.#announce(addresses);
        return answer;
      }
      this.#setFull(answer.full);
      await sleep(FULL_RETRY_MS, signal);
    }
  }

  #setFull(reason: string | null): void {
    if (this.#full === (reason !== null)) return;
    this.#full = reason !== null;
    this.#options.onFullChange?.(reason);
  }

  #announce(addresses: readonly Address[]): void {
    for (const { lane } of addresses) {
      if (!this.#lanes.has(lane)) {
        this.#lanes.add(lane);
        this.#options.onLane?.(lane);
      }
      this.#news.get(lane)?.resolve();
    }
  }

  async *batches(lane: string, signal: AbortSignal): AsyncIterable<Batch> {
    const { batchCountMax: countMax = 1_000, batchBytesMax: bytesMax = 1 << 20 } = this.#options;
    while (!signal.aborted) {
      const news = Promise.withResolvers<void>();
      this.#news.set(lane, news);
      const answer = await this.#rpc.call<ReadAnswer>({ op: "read", lane, countMax, bytesMax });
      if (signal.aborted) return;
      if (answer === null) {
        const onAbort = () => news.resolve();
        signal.addEventListener("abort", onAbort, { once: true });
        await news.promise;
        signal.removeEventListener("abort", onAbort);
      } else yield batchOf(lane, answer);
    }
  }

  async settle(batch: Batch, { stored, filtered, rows, dead, memory = [] }: Outcome): Promise<void> {
    const { lane, last } = batch;
    await this.#rpc.call({
      op: "settle",
      lane,
      last,
      outcome: { stored, filtered, rows },
      dead: dead.map(letterOf),
      memory: [...memory],
    });
  }

  async park(letters: readonly DeadLetter[]): Promise<void> {
    await this.#rpc.call({ op: "park", letters: letters.map(letterOf) });
  }

  rewind(lane: string, upto: number): Promise<number> {
    return this.#rpc.call({ op: "rewind", lane, upto });
  }

  keptAfter(lane: string): Promise<number> {
    return this.#rpc.call({ op: "keptAfter", lane });
  }

  async renew(upto: number): Promise<string> {
    return this.#identity = await this.#rpc.call<string>({ op: "renew", upto });
  }

  async memory(): Promise<ReadonlyMap<string, string>> {
    return new Map(await this.#rpc.call<[string, string][]>({ op: "memory" }));
  }

  /** Resolves when the thread answers. */
  async ping(): Promise<void> {
    await this.#rpc.call({ op: "keptAfter", lane: "" });
  }

  /** Sends dead letters that were marked for it on their way again, through the routes as they are now. */
  async #replay(): Promise<void> {
    const address = this.#addressing;
    if (!address || this.#closed) return;
    const letters = await this.#rpc.call<Replayable[]>({ op: "replayable" });
    const routed = letters.filter((it) => address(it.topic).length > 0);
    if (routed.length === 0) return;
    const { buffer, addresses } = encode(
      routed.map((it) => ({
        ...it,
        kind: "publish",
        retain: it.retain === 1,
        packetId: 0,
        duplicate: false,
        connection: 0,
      })),
      address,
    );
    await this.#rpc.call({ op: "replay", ids: routed.map((it) => it.id), buffer, addresses }, [buffer]);
    this.#announce(addresses);
  }

  get stats(): SpoolStats {
    const { totals, lanes, bytes, deadLetters, bytesWritten } = this.#rpc.picture;
    const pending = totals.deliveries - totals.stored - totals.filtered - totals.dead - totals.dropped;
    return {
      bytes,
      bytesMax: this.#options.bytesMax ?? BYTES_MAX,
      entries: pending,
      totals: { ...totals, pending },
      lanes: Object.fromEntries(
        lanes.map(({ name, pending, oldestReceivedAtMs }) => [name, { pending, oldestReceivedAtMs }]),
      ),
      deadLetters,
      full: this.#full,
      bytesWritten,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#replayer);
    await this.#rpc.call({ op: "close" }).catch(() => {});
    this.#rpc.end();
  }
}

function encode(
  arrivals: readonly Arrival[],
  address: Addressing,
): { buffer: ArrayBuffer; addresses: Address[] } {
  const addresses: Address[] = [];
  const numbers = new Map<readonly Address[], number[]>();
  const buffer = encodeArrivals(arrivals, (topic) => {
    const targets = address(topic);
    let known = numbers.get(targets);
    if (!known) numbers.set(targets, known = targets.map((it) => addresses.push(it) - 1));
    return known;
  });
  return { buffer, addresses };
}

/** A copy: the payload is a view of a batch's buffer. */
function letterOf(
  { lane, sequence, route, receivedAtMs, topic, payload, qos, retain, reason, errno }: DeadLetter,
): StoredLetter {
  return { lane, sequence, route, receivedAtMs, topic, payload: payload.slice(), qos, retain, reason, errno };
}

function batchOf(
  lane: string,
  { parts, after, settled, last, parked, routes }: NonNullable<ReadAnswer>,
): Batch {
  const nameOf = (route: number) => routes.get(route) ?? `route number ${route}`;
  const all = parts.flatMap(({ first, data }) => decodeFrame(data, first, nameOf));
  const deliveries = all[0].sequence > settled ? all : all.filter((it) => it.sequence > settled);
  return { lane, after, last, deliveries, parked: new Set(parked) };
}
