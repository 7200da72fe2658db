/**
 * Questions to the spool's thread and its answers, in order. An error there ends the gateway: what can be waited for is
 * an answer, not an error.
 */
import { GiveUpError } from "../errors.ts";
import { noCounts } from "./stored.ts";
import { type LanePicture, type Picture, type Reply, type Request, startWorker } from "./worker.ts";

export class SpoolRpc {
  readonly #worker = startWorker();
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  readonly #failed = Promise.withResolvers<never>();
  #lastId = 0;
  /** Why the thread is not there any more. */
  #ended: GiveUpError | undefined;
  /** As of the last answer. */
  picture: Picture = {
    totals: noCounts(),
    lanes: [],
    bytes: 0,
    logBytes: 0,
    deadLetters: 0,
    lettersDropped: 0,
    lettersFull: false,
    bytesWritten: 0,
    rollbacks: 0,
  };
  /** All lanes, as of the last answer. */
  readonly lanes = new Map<string, LanePicture>();
  /** How many of them have something that waits. */
  waitingLanes = 0;
  /** Told when what was settled and not yet durable was taken back. */
  onRollback: () => void = () => {};

  constructor() {
    this.#failed.promise.catch(() => {});
    this.#worker.onmessage = ({ data }: MessageEvent<Reply>) => {
      const call = this.#waiting.get(data.id);
      this.#waiting.delete(data.id);
      if (data.ok) {
        this.#show(data.picture);
        return call!.resolve(data.value);
      }
      const error = new GiveUpError(`the spool cannot keep its promise: ${data.error}`, {
        hint: "nothing unacknowledged is lost: the broker sends it again",
      });
      if (call) call.reject(error);
      else this.#failed.reject(error);
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#ended = new GiveUpError(`the spool's thread ended: ${event.message}`);
      this.#failed.reject(this.#ended);
      for (const call of this.#waiting.values()) call.reject(this.#ended);
      this.#waiting.clear();
    };
  }

  #show(picture: Picture): void {
    const { rollbacks } = this.picture;
    this.picture = picture;
    for (const lane of picture.lanes) {
      const before = this.lanes.get(lane.name)?.pending ?? 0;
      this.waitingLanes += Math.sign(lane.pending) - Math.sign(before);
      this.lanes.set(lane.name, lane);
    }
    if (picture.rollbacks !== rollbacks) this.onRollback();
  }

  /** Rejects when the thread ends by itself. */
  get failed(): Promise<never> {
    return this.#failed.promise;
  }

  /** Rejects where the promise cannot be kept any more, and where nobody is there to answer. */
  call<T>(request: Request, transfer: Transferable[] = []): Promise<T> {
    if (this.#ended) return Promise.reject(this.#ended);
    const call = Promise.withResolvers<unknown>();
    const id = ++this.#lastId;
    this.#waiting.set(id, call);
    this.#worker.postMessage({ id, request }, transfer);
    return call.promise as Promise<T>;
  }

  end(): void {
    this.#worker.terminate();
  }
}
