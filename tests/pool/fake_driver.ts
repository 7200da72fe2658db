/**
 * A driver whose connections do what a test says: connect, ping, roll back, close at once, later, never, or wrongly.
 * It counts what the server would see: sockets that are open, and who had which connection in hand.
 */
import type { Poolable } from "../../src/pool/mod.ts";

/** How an answer comes: at once, when the test calls `answer`, or as an error. */
export type Answer = "at once" | "held" | Error | (() => Promise<unknown>);

export class FakeConnection implements Poolable {
  inTransaction = false;
  inFlight = 0;
  idleTimeout: number | undefined;
  readonly commands: string[] = [];
  readonly answers: Record<"ping" | "rollback" | "reset" | "close", Answer> = {
    ping: "at once",
    rollback: "at once",
    reset: "at once",
    close: "at once",
  };
  readonly closed: Promise<Error | undefined>;
  /** As the server sees it. */
  open = true;
  destroyed = 0;
  #held: PromiseWithResolvers<unknown>[] = [];
  #onClosed!: (error: Error | undefined) => void;

  constructor(readonly id: number, readonly driver: FakeDriver) {
    this.closed = new Promise((resolve) => this.#onClosed = resolve);
  }

  ping() {
    return this.#command("ping");
  }

  rollback() {
    return this.#command("rollback").then(() => void (this.inTransaction = false));
  }

  reset() {
    return this.#command("reset").then(() => void (this.inTransaction = false));
  }

  close() {
    return this.#command("close").then(() => this.#gone(undefined));
  }

  destroy() {
    this.destroyed++;
    this.#gone(undefined);
    if (this.driver.destroyThrows) throw new TypeError("destroy of undefined");
  }

  /** The server ends it: FIN, RST or an unsolicited error. */
  die(error?: Error) {
    this.#gone(error);
  }

  /** Answers the oldest command that was held. */
  answer(error?: Error) {
    const held = this.#held.shift();
    if (error) held?.reject(error);
    else held?.resolve(undefined);
  }

  get holds(): number {
    return this.#held.length;
  }

  #command(name: "ping" | "rollback" | "reset" | "close"): Promise<unknown> {
    this.commands.push(name);
    const how = this.answers[name];
    if (how === "at once") return Promise.resolve();
    if (typeof how === "function") return how();
    if (how !== "held") return Promise.reject(how);
    const held = Promise.withResolvers<unknown>();
    this.#held.push(held);
    return held.promise;
  }

  #gone(error: Error | undefined) {
    if (!this.open) return;
    this.open = false;
    this.driver.open--;
    this.#onClosed(error);
  }
}

interface Attempt {
  readonly signal: AbortSignal;
  readonly result: PromiseWithResolvers<FakeConnection>;
}

export class FakeDriver {
  readonly made: FakeConnection[] = [];
  /** Connects that wait for `succeed` or `fail`. */
  readonly attempts: Attempt[] = [];
  /** What the next connects do; "held": they wait. */
  how: "at once" | "held" | Error | (() => Promise<FakeConnection>) = "at once";
  /** Called with each new connection, before the pool has it. */
  prepare: (connection: FakeConnection) => void = () => {};
  open = 0;
  openMax = 0;
  connects = 0;
  destroyThrows = false;

  connect = ({ signal }: { signal: AbortSignal }): Promise<FakeConnection> => {
    this.connects++;
    const { how } = this;
    if (how === "at once") return Promise.resolve(this.#make());
    if (typeof how === "function") return how();
    if (how !== "held") return Promise.reject(how);
    const result = Promise.withResolvers<FakeConnection>();
    this.attempts.push({ signal, result });
    return result.promise;
  };

  succeed(): FakeConnection {
    const connection = this.#make();
    this.attempts.shift()!.result.resolve(connection);
    return connection;
  }

  fail(error: Error): void {
    this.attempts.shift()!.result.reject(error);
  }

  #make(): FakeConnection {
    const connection = new FakeConnection(this.made.length + 1, this);
    this.made.push(connection);
    this.openMax = Math.max(this.openMax, ++this.open);
    this.prepare(connection);
    return connection;
  }
}

/** Lets everything that is ready happen: promises only, no timers. */
export async function settled(): Promise<void> {
  for (let i = 0; i < 30; i++) await Promise.resolve();
}

/** What became of a promise by now. */
export function watch<T>(promise: Promise<T>): { value?: T; error?: unknown; readonly done: boolean } {
  const state: { value?: T; error?: unknown; done: boolean } = { done: false };
  promise.then(
    (value) => Object.assign(state, { value, done: true }),
    (error) => Object.assign(state, { error, done: true }),
  );
  return state;
}
