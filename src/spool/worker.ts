/**
 * The spool's thread: SQLite is synchronous, and an fsync on an SD card must not hold up keepalives and timers.
 *
 * The module is both sides: `startWorker` starts it as a worker, and inside that worker it serves. In a bundle
 * `import.meta.url` is the bundle, whose `main` does nothing in a worker, so the same line works there.
 */
import { GiveUpError, messageOf } from "../errors.ts";
import { Store, type StoredLetter, type TotalCounts } from "./store.ts";

const NAME = "sluice-spool";
const FLUSH_AFTER_MS = 1_000;

export interface Opened {
  identity: string;
  highestAtOpen: number;
  lanes: string[];
}

/** What the main side may ask; each answer comes in order. */
export type Request =
  | { op: "open"; path: string; graceMs: number }
  | { op: "append"; buffer: ArrayBuffer; addresses: { lane: string; route: string }[]; dropQos0: boolean }
  | { op: "read"; lane: string; countMax: number; bytesMax: number }
  | {
    op: "settle";
    lane: string;
    last: number;
    outcome: { stored: number; filtered: number; rows: number };
    dead: StoredLetter[];
    memory: (readonly [string, string | null])[];
  }
  | { op: "park"; letters: StoredLetter[] }
  | { op: "rewind"; lane: string; upto: number }
  | { op: "keptAfter"; lane: string }
  | { op: "renew"; upto: number }
  | { op: "memory" }
  | { op: "close" };

export type Reply = { id: number; ok: true; value: unknown; picture: Picture } | {
  id: number;
  ok: false;
  error: string;
  fatal: boolean;
};

/** What the main side shows of the spool. */
export interface Picture {
  totals: TotalCounts;
  lanes: [name: string, pending: number][];
}

declare const WorkerGlobalScope: unknown;

export function startWorker(): Worker {
  return new Worker(import.meta.url, { type: "module", name: NAME });
}

function serve(
  scope: {
    postMessage(message: unknown, transfer?: Transferable[]): void;
    onmessage: ((event: MessageEvent) => void) | null;
  },
) {
  let store: Store;
  let flushTimer: ReturnType<typeof setTimeout> | undefined;
  const handle = (request: Request): unknown => {
    switch (request.op) {
      case "open": {
        store = new Store(request.path, request.graceMs);
        return {
          identity: store.identity,
          highestAtOpen: store.highestAtOpen,
          lanes: [...store.lanes].map((it) => it.name),
        } satisfies Opened;
      }
      case "append":
        return { counts: store.append(request.buffer, request.addresses, request.dropQos0) };
      case "read": {
        const frames = store.read(request.lane, request.countMax, request.bytesMax);
        return frames && { ...frames, routes: store.routeNames() };
      }
      case "settle":
        store.settle(request.lane, request.last, request.outcome, request.dead, request.memory);
        flushTimer ??= setTimeout(() => {
          flushTimer = undefined;
          store.flush();
        }, FLUSH_AFTER_MS);
        return null;
      case "park":
        return store.park(request.letters);
      case "rewind":
        return store.rewind(request.lane, request.upto);
      case "keptAfter":
        return store.keptAfter(request.lane);
      case "renew":
        return store.renew(request.upto);
      case "memory":
        return store.memory();
      case "close":
        clearTimeout(flushTimer);
        return store.close();
    }
  };
  scope.onmessage = ({ data: { id, request } }) => {
    try {
      const value = handle(request) ?? null;
      const picture: Picture = {
        totals: { ...store.totals },
        lanes: [...store.lanes].map((it) => [it.name, it.pending]),
      };
      scope.postMessage({ id, ok: true, value, picture } satisfies Reply);
    } catch (error) {
      scope.postMessage(
        { id, ok: false, error: messageOf(error), fatal: error instanceof GiveUpError } satisfies Reply,
      );
    }
  };
}

if (typeof WorkerGlobalScope !== "undefined" && self.name === NAME) serve(self as never);
