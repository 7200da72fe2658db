/**
 * A TCP proxy on loopback that can do to a connection whatever a network can, byte-exactly, with a log of the wire.
 *
 * Promises that the bytes of one direction leave in the order in which they came and unaltered, that an end of
 * stream stays behind the bytes before it, and that what is held survives the other side's departure: a COMMIT can
 * be held, its client can go away, and it can still be released. Held bytes are kept in memory, without a bound;
 * where nothing is held, a slow reader slows its sender down, as without a proxy. A target that refuses shows as a
 * reset right after the connection was accepted.
 */
import { connect as tcpConnect, createServer, type Server, type Socket } from "node:net";
import { freePort } from "./free_port.ts";

/** "up": from the client to the server. "down": from the server to the client. */
export type Direction = "up" | "down";

/** What becomes of a chunk: forwarded; kept with all that follows until `release`; thrown away; the connection reset. */
export type Verdict = "pass" | "hold" | "drop" | "cut";

export interface LogEntry {
  /** Number of the connection, from 1. */
  readonly connection: number;
  readonly direction: Direction;
  /** As read from the sender, before any fault. */
  readonly bytes: Uint8Array;
  /** Milliseconds on the monotonic clock. */
  readonly atMs: number;
}

export interface ProxyOptions {
  /** "127.0.0.1:1883", or a port of 127.0.0.1. */
  readonly target: string | number;
  /** Default: a free one. */
  readonly port?: number;
  /** The address on which it listens. Default 127.0.0.1. */
  readonly host?: string;
  /** Keep the bytes of the wire in `log`. Default true; false spares the memory under load. */
  readonly log?: boolean;
}

/** Starts a proxy that forwards everything until it is told otherwise. */
export async function startProxy(options: ProxyOptions): Promise<FaultProxy> {
  const { port = freePort(), host = "127.0.0.1", log = true } = options;
  const proxy = new FaultProxy({ port, host }, options.target, log);
  await proxy.refuse(false);
  return proxy;
}

type Item = Uint8Array | "end";

/** Above this many waiting bytes the sender is not read any more, unless bytes are held on purpose. */
const QUEUE_BYTES_MAX = 1 << 20;

/** One direction of one connection: a queue, and a loop that takes from it as the faults allow. */
class Flow {
  readonly #queue: { item: Item; dueMs: number }[] = [];
  readonly #proxy: FaultProxy;
  readonly #source: Socket;
  readonly #target: Socket;
  readonly direction: Direction;
  /** By a verdict "hold", on this connection alone. */
  held = false;
  #queuedBytes = 0;
  #running = false;
  #wake: (() => void) | undefined;

  constructor(proxy: FaultProxy, direction: Direction, source: Socket, target: Socket) {
    this.#proxy = proxy;
    this.direction = direction;
    this.#source = source;
    this.#target = target;
  }

  /** Held, or swallowed; an end of stream is not lost by swallowing, it comes late. */
  get blocked(): boolean {
    return this.held || this.#proxy.isBlocked(this.direction);
  }

  push(item: Item): void {
    this.#queue.push({ item, dueMs: performance.now() + this.#proxy.delayMs });
    this.#queuedBytes += item.length;
    if (!this.#running) void this.#run();
    if (this.#queuedBytes > QUEUE_BYTES_MAX && !this.blocked) this.#source.pause();
  }

  /** Looks again at the queue after a release. */
  wake(): void {
    this.#wake?.();
    if (!this.#running) void this.#run();
  }

  stop(): void {
    this.#queue.length = 0;
    this.#queuedBytes = 0;
    this.wake();
  }

  async #run(): Promise<void> {
    this.#running = true;
    while (this.#queue.length > 0 && !this.blocked) {
      const waitMs = this.#queue[0]!.dueMs - performance.now();
      if (waitMs > 0) await this.#pause(waitMs);
      if (this.#queue.length === 0 || this.blocked) break;
      const { item } = this.#queue.shift()!;
      await this.#forward(item);
      this.#queuedBytes -= item.length;
      if (this.#queuedBytes <= QUEUE_BYTES_MAX) this.#source.resume();
    }
    if (this.blocked) this.#source.resume();
    this.#running = false;
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => (clearTimeout(timer), resolve());
    });
  }

  async #forward(item: Item): Promise<void> {
    if (this.#target.destroyed) return;
    if (item === "end") return void this.#target.end();
    const size = this.#proxy.sliceBytes || item.length;
    for (let at = 0; at < item.length && !this.#target.destroyed; at += size) {
      const room = this.#target.write(item.subarray(at, at + size));
      // A turn of the event loop between two slices, so that they leave as separate segments.
      if (size < item.length) await this.#pause(0);
      if (!room && !this.#target.destroyed) await this.#drained();
    }
  }

  #drained(): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        this.#target.off("drain", done).off("close", done);
        resolve();
      };
      this.#target.on("drain", done).on("close", done);
    });
  }
}

/** A client, its server, and the two flows between them. */
class Connection {
  readonly number: number;
  readonly client: Socket;
  readonly server: Socket | undefined;
  readonly flows: Readonly<Record<Direction, Flow>> | undefined;

  constructor(proxy: FaultProxy, number: number, client: Socket, server: Socket | undefined) {
    this.number = number;
    this.client = client;
    this.server = server;
    this.flows = server &&
      { up: new Flow(proxy, "up", client, server), down: new Flow(proxy, "down", server, client) };
  }

  get sockets(): Socket[] {
    return this.server ? [this.client, this.server] : [this.client];
  }

  reset(): void {
    for (const socket of this.sockets) socket.resetAndDestroy();
    this.flows?.up.stop();
    this.flows?.down.stop();
  }
}

export class FaultProxy implements AsyncDisposable {
  readonly port: number;
  readonly host: string;
  /** Where new connections go; may be changed at any time. */
  target: string | number;
  /** Everything that was read, oldest first. Empty it with `log.length = 0`. */
  readonly log: LogEntry[] = [];
  /** Decides about every chunk; default: pass. May be changed at any time. */
  onData: ((direction: Direction, chunk: Uint8Array, connection: number) => Verdict) | undefined;
  /** As set by `delay`. */
  delayMs = 0;
  /** As set by `slice`; 0: chunks leave as they came. */
  sliceBytes = 0;
  /** Connections accepted so far. */
  accepted = 0;

  readonly #logging: boolean;
  readonly #held = new Set<Direction>();
  readonly #swallowed = new Set<Direction>();
  readonly #connections = new Map<number, Connection>();
  #blackhole = false;
  #server: Server | undefined;

  constructor(place: { port: number; host: string }, target: string | number, logging: boolean) {
    this.port = place.port;
    this.host = place.host;
    this.target = target;
    this.#logging = logging;
  }

  /** mqtt://127.0.0.1:port by default. */
  url(protocol = "mqtt"): string {
    return `${protocol}://${this.host}:${this.port}`;
  }

  /** Open connections. */
  get connections(): number {
    return this.#connections.size;
  }

  /** Resets (RST) all connections, or one of them, on both sides. */
  cut(connection?: number): void {
    for (const each of this.#chosen(connection)) each.reset();
  }

  /** Closes all connections, or one of them, gracefully (FIN) on both sides, behind the bytes that still wait. */
  close(connection?: number): void {
    for (const { client, flows } of this.#chosen(connection)) {
      if (!flows) client.end();
      flows?.up.push("end");
      flows?.down.push("end");
    }
  }

  /** Keeps the bytes of a direction (default: both), on existing and new connections, until `release`. */
  hold(direction?: Direction): void {
    for (const each of directions(direction)) this.#held.add(each);
  }

  /** Ends `hold`, `swallow` and the verdict "hold" for a direction (default: both); what was kept goes out. */
  release(direction?: Direction): void {
    for (const each of directions(direction)) {
      this.#held.delete(each);
      this.#swallowed.delete(each);
      for (const { flows } of this.#connections.values()) {
        if (!flows) continue;
        flows[each].held = false;
        flows[each].wake();
      }
    }
  }

  /** Throws the bytes of a direction away (default: both), as a half-open connection does, until `release`. */
  swallow(direction?: Direction): void {
    for (const each of directions(direction)) this.#swallowed.add(each);
  }

  /** Accepts new connections without ever answering, and swallows both directions of the old ones; `false` ends it for new ones and releases the old. */
  blackhole(on = true): void {
    this.#blackhole = on;
    if (on) this.swallow();
    else this.release();
  }

  /** True: new connections are refused by the kernel; existing ones go on. False: listens again on the same port. */
  async refuse(on = true): Promise<void> {
    if (on === !this.#server) return;
    if (on) {
      const server = this.#server!;
      this.#server = undefined;
      // `close` stops listening at once but reports only when the last connection is gone.
      server.close();
      return;
    }
    // allowHalfOpen: an end of stream travels through the queue like the bytes before it.
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => this.#accept(client));
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(this.port, this.host, resolve);
    });
    this.#server = server;
  }

  /** Lets every chunk arrive this much later, in milliseconds; order is kept. 0 ends it. */
  delay(ms: number): void {
    this.delayMs = ms;
  }

  /** Forwards in pieces of at most this many bytes. 0 ends it. */
  slice(bytes: number): void {
    this.sliceBytes = bytes;
  }

  /** True where nothing of a direction may leave: held or swallowed. */
  isBlocked(direction: Direction): boolean {
    return this.#held.has(direction) || this.#swallowed.has(direction);
  }

  /** The logged bytes of one direction (of one connection) in a row. */
  wire(direction: Direction, connection?: number): Uint8Array {
    const parts = this.log.filter((e) =>
      e.direction === direction && (connection === undefined || e.connection === connection)
    );
    const all = new Uint8Array(parts.reduce((sum, { bytes }) => sum + bytes.length, 0));
    let at = 0;
    for (const { bytes } of parts) {
      all.set(bytes, at);
      at += bytes.length;
    }
    return all;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    const gone = [...this.#connections.values()].flatMap(({ sockets }) => sockets.map(closed));
    this.cut();
    await Promise.all(gone);
    if (server) await new Promise((resolve) => server.close(resolve));
  }

  #chosen(connection: number | undefined): Connection[] {
    const all = [...this.#connections.values()];
    return connection === undefined ? all : all.filter(({ number }) => number === connection);
  }

  #accept(client: Socket): void {
    const number = ++this.accepted;
    const server = this.#blackhole
      ? undefined
      : tcpConnect({ ...this.#address(), allowHalfOpen: true, noDelay: true });
    const connection = new Connection(this, number, client, server);
    this.#connections.set(number, connection);
    this.#pump(connection, "up", client);
    if (server) this.#pump(connection, "down", server);
    for (const socket of connection.sockets) {
      socket.on("close", () => {
        if (connection.sockets.every(({ destroyed }) => destroyed)) this.#connections.delete(number);
      });
    }
  }

  #pump(connection: Connection, direction: Direction, from: Socket): void {
    let broken = false;
    from.on("error", () => broken = true);
    from.on("data", (chunk: Uint8Array) => {
      if (this.#logging) {
        const bytes = chunk.slice();
        this.log.push({ connection: connection.number, direction, bytes, atMs: performance.now() });
      }
      const verdict = this.onData?.(direction, chunk, connection.number) ?? "pass";
      if (verdict === "cut") return connection.reset();
      if (verdict === "drop" || this.#swallowed.has(direction)) return;
      const flow = connection.flows?.[direction];
      if (verdict === "hold" && flow) flow.held = true;
      flow?.push(chunk);
    });
    const flow = connection.flows?.[direction];
    from.on("end", () => flow?.push("end"));
    // A reset passes at once, except where bytes are held that may still have to be released.
    from.on("close", () => {
      if (!broken || !flow) return;
      if (flow.blocked) flow.push("end");
      else connection.reset();
    });
  }

  #address(): { host: string; port: number } {
    if (typeof this.target === "number") return { host: "127.0.0.1", port: this.target };
    const at = this.target.lastIndexOf(":");
    return { host: this.target.slice(0, at), port: Number(this.target.slice(at + 1)) };
  }
}

function directions(direction: Direction | undefined): readonly Direction[] {
  return direction ? [direction] : ["up", "down"];
}

function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.closed ? resolve() : socket.once("close", () => resolve()));
}
