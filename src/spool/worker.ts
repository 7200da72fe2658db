/**
 * The spool's thread: SQLite is synchronous, and an fsync on an SD card must not hold up keepalives and timers.
 *
 * The module is both sides: `startWorker` starts it as a worker, and inside that worker it serves.
 */
import { messageOf } from "../errors.ts";
import { startThread } from "../thread.ts";
import { drop, renew, replay, rewind } from "./changes.ts";
import { type LetterAnswer, lookUp } from "./requests.ts";
import { SpoolThread } from "./thread.ts";
import type { Frames, Move, Numbered, StoredLetter, TotalCounts } from "./stored.ts";

const NAME = "sluice-spool";

export interface Opened {
  readonly identity: string;
  readonly highestAtOpen: number;
  readonly lanes: readonly string[];
  /** What had to be done to open it, for people. */
  readonly notes: readonly string[];
}

/** What the main side may ask; answers come in the order of the questions. */
export type Request =
  | { op: "open"; path: string; graceMs: number; bytesMax: number; dropOldest: boolean }
  | { op: "append"; buffer: ArrayBuffer; addresses: readonly Numbered[]; mayWait: boolean }
  | { op: "read"; lane: string; countMax: number; bytesMax: number }
  | {
    op: "settle";
    lane: string;
    last: number;
    outcome: { stored: number; filtered: number; rows: number };
    dead: readonly StoredLetter[];
    memory: readonly (readonly [string, string | null])[];
  }
  | { op: "park"; letters: readonly StoredLetter[] }
  | { op: "rewind"; lane: string; upto: number }
  | { op: "keptAfter"; lane: string }
  | { op: "renew"; lane: string; upto: number }
  | { op: "memory" }
  | { op: "letters"; ids: readonly number[] }
  | { op: "replay"; moves: readonly Move[] }
  | { op: "drop"; ids: readonly number[] }
  | { op: "nextRequest" }
  | { op: "answer"; id: number; answer: LetterAnswer | { readonly error: string } }
  | { op: "close" };

/** Instead of an answer, of everything that writes, while the spool, or its disk, is full, or another program locks it. */
export interface Full {
  readonly full: string;
}

/** `routes`: those that were not named before. */
export type ReadAnswer =
  | (Frames & { readonly routes: readonly (readonly [id: number, name: string])[] })
  | null;

/** Not ok: the promise cannot be kept any more. With id 0 it is no answer. */
export type Reply =
  | { id: number; ok: true; value: unknown; picture: Picture }
  | { id: number; ok: false; error: string };

export interface LanePicture {
  readonly name: string;
  readonly pending: number;
  readonly oldestReceivedAtMs: number | null;
}

/** What the main side shows of the spool. */
export interface Picture {
  readonly totals: TotalCounts;
  /** Those that have changed since the last one. */
  readonly lanes: readonly LanePicture[];
  readonly bytes: number;
  /** Of the log beside the file. */
  readonly logBytes: number;
  readonly deadLetters: number;
  /** For the limit, since the spool was made. */
  readonly lettersDropped: number;
  readonly lettersFull: boolean;
  readonly bytesWritten: number;
  /** How often what was settled and not yet durable had to be taken back: all that waits must be read again. */
  readonly rollbacks: number;
}

declare const WorkerGlobalScope: unknown;

export function startWorker(): Worker {
  return startThread(NAME, import.meta.url);
}

interface Scope {
  postMessage(message: Reply, transfer?: Transferable[]): void;
  onmessage: ((event: MessageEvent<{ id: number; request: Request }>) => void) | null;
}

function serve(scope: Scope): void {
  let thread: SpoolThread;
  const handle = (request: Request): unknown => {
    if (request.op === "open") {
      thread = new SpoolThread({
        ...request,
        onBroken: (error) => scope.postMessage({ id: 0, ok: false, error: messageOf(error) }),
      });
      return thread.opened;
    }
    const { store } = thread;
    switch (request.op) {
      case "append":
        return thread.append(request.buffer, request.addresses, request.mayWait);
      case "read":
        return thread.look(() => {
          const frames = store.read(request.lane, request.countMax, request.bytesMax);
          return frames && { ...frames, routes: store.takeRoutes() } satisfies ReadAnswer;
        });
      case "settle":
        return thread.settle(() =>
          store.settle(request.lane, request.last, request.outcome, request.dead, request.memory)
        );
      case "park":
        return thread.attempt(() => store.park(request.letters));
      case "rewind":
        return thread.attempt(() => rewind(store, request.lane, request.upto));
      case "keptAfter":
        return store.lanes.get(request.lane)?.kept ?? 0;
      case "renew":
        return thread.attempt(() => renew(store, request.lane, request.upto, crypto.randomUUID()));
      case "memory":
        return thread.look(() => store.memory());
      case "letters":
        return thread.look(() => lookUp(store.file, request.ids));
      case "replay":
        return thread.attempt(() => replay(store, request.moves));
      case "drop":
        return thread.attempt(() => drop(store, request.ids));
      case "nextRequest":
        return thread.look(() => thread.requests.next());
      case "answer":
        return thread.attempt(() => thread.requests.answer(request.id, request.answer));
      case "close":
        return thread.close();
    }
  };
  scope.onmessage = ({ data: { id, request } }) => {
    try {
      const value = handle(request) ?? null;
      scope.postMessage({ id, ok: true, value, picture: thread.picture() });
    } catch (error) {
      scope.postMessage({ id, ok: false, error: messageOf(error) });
    }
  };
}

if (typeof WorkerGlobalScope !== "undefined" && self.name === NAME) serve(self as unknown as Scope);
