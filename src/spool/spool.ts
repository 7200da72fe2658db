/**
 * The spool as the gateway sees it: `Spool` over the thread that holds the file (`store.ts` says what is on disk).
 *
 * Promises what `contracts.ts` says. Questions are answered in their order; an append that must wait for space waits
 * here, not in the thread, so that settling goes on and makes the space.
 */
import { sleep } from "../clock.ts";
import type { Appended, Outcome, Spool, SpoolStats } from "../contracts.ts";
import { messageOf, SluiceError, StallError } from "../errors.ts";
import type { Address, Arrival, Batch, DeadLetter } from "../message.ts";
import { LOG_BYTES } from "./file.ts";
import { decodeFrame, encodeArrivals, unpack } from "./frame.ts";
import { type AskedRequest, type LetterAnswer, type LetterOrder, type lookUp, redirect } from "./requests.ts";
import { SpoolRpc } from "./rpc.ts";
import type { Move, StoredLetter } from "./stored.ts";
import type { Full, Opened, ReadAnswer, Request } from "./worker.ts";

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
  /** Told, while it lasts, that the oldest dead letters had to go because there are too many, and with null when it is over. */
  readonly onLettersFull?: (letters: { readonly kept: number; readonly dropped: number } | null) => void;
  /** Told, while it lasts, that another program keeps SQLite's log from being taken over, and with null when it is over. */
  readonly onLogLarge?: (log: { readonly bytes: number } | null) => void;
  /** How long settled entries stay on disk, in case the database loses them. @default 10 minutes */
  readonly graceMs?: number;
  /** @default 1000, and less where many lanes wait */
  readonly batchCountMax?: number;
  /** @default 1 MiB, and less where many lanes wait */
  readonly batchBytesMax?: number;
}

const BYTES_MAX = 2 ** 30;
const GRACE_MS = 10 * 60_000;
const FULL_RETRY_MS = 250;
const LOOK_EVERY_MS = 500;
const BATCH_COUNT_MAX = 1_000;
const BATCH_BYTES_MAX = 1024 * 1024;
/** What the batches of all lanes may hold in memory together, while the database is away; but a batch is a frame at least. */
const HANDS_COUNT_MAX = 20_000;
const HANDS_BYTES_MAX = 8 * 1024 * 1024;
/** Of the limit: a batch in hand is never dropped. */
const HANDS_SHARE = 0.25;
const BATCH_COUNT_MIN = 4;
const BATCH_BYTES_MIN = 16 * 1024;
/** The log of a spool that nobody disturbs stays far below that. */
const LOG_LARGE_BYTES = 8 * LOG_BYTES;

type Addressing = (topic: string) => readonly Address[];

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
  readonly identity: string;
  readonly notes: readonly string[];
  readonly highestAtOpen: number;
  readonly #rpc: SpoolRpc;
  readonly #options: SpoolOptions;
  readonly #lanes: Set<string>;
  readonly #news = new Map<string, PromiseWithResolvers<void>>();
  readonly #routes = new Map<number, string>();
  readonly #looker: ReturnType<typeof setInterval>;
  #addressing: Addressing | undefined;
  #looking = false;
  #lettersFull = false;
  #logLarge = false;
  #full = false;
  #closed = false;

  constructor(rpc: SpoolRpc, { identity, highestAtOpen, lanes, notes }: Opened, options: SpoolOptions) {
    this.#rpc = rpc;
    this.#options = options;
    this.#lanes = new Set(lanes);
    this.identity = identity;
    this.highestAtOpen = highestAtOpen;
    this.notes = notes;
    rpc.onRollback = () => this.#news.forEach((it) => it.resolve());
    this.#looker = setInterval(() => void this.#look().catch(() => {}), LOOK_EVERY_MS);
    Deno.unrefTimer(this.#looker as unknown as number);
  }

  /** Rejects when the spool's thread ends by itself. */
  get failed(): Promise<never> {
    return this.#rpc.failed;
  }

  get lanes(): readonly string[] {
    return [...this.#lanes];
  }

  async append(arrivals: readonly Arrival[], address: Addressing, signal?: AbortSignal): Promise<Appended> {
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
    while (!signal.aborted) {
      const news = Promise.withResolvers<void>();
      this.#news.set(lane, news);
      const answer = await this.#rpc.call<ReadAnswer>({ op: "read", lane, ...this.#batchMax() });
      if (answer) { for (const [id, name] of answer.routes) this.#routes.set(id, name); }
      if (signal.aborted) return;
      if (answer === null) {
        const onAbort = () => news.resolve();
        signal.addEventListener("abort", onAbort, { once: true });
        await news.promise;
        signal.removeEventListener("abort", onAbort);
      } else yield this.#batchOf(lane, answer);
    }
  }

  /** Each lane holds a batch for as long as the database is away: the more lanes wait, the smaller. */
  #batchMax(): { countMax: number; bytesMax: number } {
    const { batchCountMax, batchBytesMax, bytesMax = BYTES_MAX } = this.#options;
    const lanes = Math.max(1, this.#rpc.waitingLanes);
    const bytes = Math.min(HANDS_BYTES_MAX, bytesMax * HANDS_SHARE) / lanes;
    return {
      countMax: batchCountMax ?? between(BATCH_COUNT_MIN, HANDS_COUNT_MAX / lanes, BATCH_COUNT_MAX),
      bytesMax: batchBytesMax ?? between(BATCH_BYTES_MIN, bytes, BATCH_BYTES_MAX),
    };
  }

  #batchOf(lane: string, { parts, identity, after, settled, last, parked }: NonNullable<ReadAnswer>): Batch {
    const nameOf = (route: number) => this.#routes.get(route) ?? `route number ${route}`;
    const all = parts.flatMap((frame) => decodeFrame(unpack(frame), frame.first, nameOf));
    const deliveries = all[0].sequence > settled ? all : all.filter((it) => it.sequence > settled);
    return { lane, spool: identity, after, last, deliveries, parked: new Set(parked) };
  }

  async settle(batch: Batch, { stored, filtered, rows, dead, memory = [] }: Outcome): Promise<void> {
    const { lane, last } = batch;
    const request: Request = {
      op: "settle",
      lane,
      last,
      outcome: { stored, filtered, rows },
      dead: dead.map(letterOf),
      memory: [...memory],
    };
    // Where the disk is full the batch is forgotten, the second time it is ignored, and then it is read again: the
    // ledger will tell that it is in the database. Not at once: there is no room yet.
    while (await this.#rpc.call<Full | null>(request)) await sleep(FULL_RETRY_MS);
  }

  /** Throws `StallError` where there is no room for them. */
  async park(letters: readonly DeadLetter[]): Promise<void> {
    const answer = await this.#rpc.call<Full | null>({ op: "park", letters: letters.map(letterOf) });
    if (!answer) return;
    const { lane } = letters[0];
    throw new StallError(`the dead letters of ${lane} cannot be kept: ${answer.full}`, {
      lane,
      hint: "make room on the disk of the spool",
    });
  }

  rewind(lane: string, upto: number): Promise<number> {
    return this.#insist({ op: "rewind", lane, upto });
  }

  keptAfter(lane: string): Promise<number> {
    return this.#rpc.call({ op: "keptAfter", lane });
  }

  renew(lane: string, upto: number): Promise<string> {
    return this.#insist({ op: "renew", lane, upto });
  }

  /** Asks again until there is room for it. */
  async #insist<T extends string | number>(request: Request): Promise<T> {
    while (true) {
      const answer = await this.#rpc.call<T | Full>(request);
      if (typeof answer !== "object") return answer;
      await sleep(FULL_RETRY_MS);
    }
  }

  async memory(): Promise<ReadonlyMap<string, string>> {
    return new Map(await this.#rpc.call<[string, string][]>({ op: "memory" }));
  }

  /** Resolves when the thread answers. */
  async ping(): Promise<void> {
    await this.#rpc.call({ op: "keptAfter", lane: "" });
  }

  /** Says which routes replayed letters go through. Until then there is no replay. */
  routeBy(address: Addressing): void {
    this.#addressing = address;
  }

  /** Does with dead letters what was asked. Those that are not there any more are not counted. */
  async attend({ op, ids, to }: LetterOrder): Promise<LetterAnswer> {
    const address = this.#addressing;
    if (!address && op === "replay") {
      throw new SluiceError("the routes are not known yet: try again in a moment");
    }
    const { letters, routes } = await this.#rpc.call<ReturnType<typeof lookUp>>({ op: "letters", ids });
    const moves: Move[] = [];
    const kept: { id: number; reason: string }[] = [];
    for (const letter of letters) {
      const target = letter.counted === 0
        ? "its batch is still on its way to the database: try again later"
        : op === "drop"
        ? letter
        : redirect(letter, address!(letter.topic), routes, to);
      if (typeof target === "string") kept.push({ id: letter.id, reason: target });
      else moves.push({ id: letter.id, lane: target.lane, route: target.route });
    }
    const done = await this.#rpc.call<number | Full>(
      op === "drop" ? { op, ids: moves.map((it) => it.id) } : { op, moves },
    );
    if (typeof done === "object") throw new SluiceError(`${done.full}: make room, then try again`);
    if (op === "replay") this.#announce(moves);
    return { done, kept };
  }

  /** Does what commands ask for, and tells of dead letters that had to go. */
  async #look(): Promise<void> {
    if (this.#looking || this.#closed) return;
    this.#looking = true;
    try {
      for (
        let asked: AskedRequest | null;
        (asked = await this.#rpc.call<AskedRequest | null>({ op: "nextRequest" }));
      ) {
        const answer = await this.attend(asked.order).catch((error) => ({ error: messageOf(error) }));
        await this.#rpc.call({ op: "answer", id: asked.id, answer });
      }
      const { deadLetters, lettersDropped, lettersFull, logBytes } = this.#rpc.picture;
      const logLarge = logBytes > LOG_LARGE_BYTES;
      if (logLarge || this.#logLarge) this.#options.onLogLarge?.(logLarge ? { bytes: logBytes } : null);
      this.#logLarge = logLarge;
      if (lettersFull || this.#lettersFull) {
        this.#options.onLettersFull?.(lettersFull ? { kept: deadLetters, dropped: lettersDropped } : null);
      }
      this.#lettersFull = lettersFull;
    } finally {
      this.#looking = false;
    }
  }

  get stats(): SpoolStats {
    const { totals, bytes, logBytes, deadLetters, bytesWritten } = this.#rpc.picture;
    const pending = totals.deliveries - totals.stored - totals.filtered - totals.dead - totals.dropped;
    return {
      bytes,
      logBytes,
      bytesMax: this.#options.bytesMax ?? BYTES_MAX,
      entries: pending,
      totals: { ...totals, pending },
      lanes: Object.fromEntries(
        [...this.#rpc.lanes.values()].map((
          { name, pending, oldestReceivedAtMs },
        ) => [name, { pending, oldestReceivedAtMs }]),
      ),
      deadLetters,
      full: this.#full,
      bytesWritten,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#looker);
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

function between(least: number, value: number, most: number): number {
  return Math.floor(Math.max(least, Math.min(value, most)));
}
