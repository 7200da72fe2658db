/**
 * A client of a broker that sends what a test tells it, packet by packet, and keeps what came: to find out what a
 * broker does. It acknowledges nothing by itself and shares no code with Sluice.
 */
import type { Buffer } from "node:buffer";
import { connect as tcpConnect, type Socket } from "node:net";
import { generate, type IConnackPacket, type IConnectPacket, type Packet, parser } from "mqtt-packet";
import type { Mosquitto } from "../servers/mosquitto.ts";
import { waitFor } from "../servers/wait_for.ts";

export interface BareOptions {
  /** Default 5. */
  readonly version?: 4 | 5;
  readonly clientId?: string;
  /** Goes over CONNECT. */
  readonly hello?: Partial<IConnectPacket>;
  /** Read nothing at all. Default false. */
  readonly deaf?: boolean;
}

export class BareClient implements AsyncDisposable {
  readonly version: 4 | 5;
  /** Everything that came, oldest first. */
  readonly packets: Packet[] = [];
  readonly socket: Socket;
  closed = false;
  #read = 0;
  readonly #gone = Promise.withResolvers<void>();

  constructor(url: string, options: BareOptions = {}) {
    const { version = 5, clientId = "bare", hello = {}, deaf = false } = options;
    this.version = version;
    const { hostname, port } = new URL(url);
    this.socket = tcpConnect({ host: hostname, port: Number(port), noDelay: true });
    this.socket.on("error", () => {});
    this.socket.on("close", () => {
      this.closed = true;
      this.#gone.resolve();
    });
    const reader = parser({ protocolVersion: version });
    reader.on("packet", (packet) => this.packets.push(packet));
    if (deaf) this.socket.pause();
    else this.socket.on("data", (chunk: Buffer) => reader.parse(chunk));
    this.send({
      cmd: "connect",
      protocolId: "MQTT",
      protocolVersion: version,
      clientId,
      clean: false,
      keepalive: 0,
      ...hello,
      ...(version === 5 ? { properties: { sessionExpiryInterval: 3600, ...hello.properties } } : {}),
    });
  }

  /**
   * Connects and is gone before the broker has read CONNECT: its first answer is written, the second one meets a reset.
   */
  static async passBy(broker: Mosquitto, options: BareOptions = {}): Promise<void> {
    const logins = () => broker.log(10_000).split(` as ${options.clientId ?? "bare"}`).length;
    const before = logins();
    await broker.kill("SIGSTOP");
    const client = new BareClient(broker.url, options);
    const { socket } = client;
    await waitFor(() => socket.bytesWritten > 0 && socket.writableLength === 0, {
      what: "CONNECT to be sent",
    });
    await client[Symbol.asyncDispose]();
    await broker.kill("SIGCONT");
    await waitFor(() => logins() > before, { what: "the broker to let it in" });
  }

  /** Connects and waits for CONNACK. */
  static async open(url: string, options: BareOptions = {}): Promise<BareClient> {
    const client = new BareClient(url, options);
    await client.next("connack");
    return client;
  }

  get connack(): IConnackPacket {
    return this.all("connack")[0]!;
  }

  send(...packets: Packet[]): void {
    for (const packet of packets) this.socket.write(generate(packet, { protocolVersion: this.version }));
  }

  /** Subscribes, waits for the answer and returns its codes. */
  async subscribe(topics: readonly string[], options: Record<string, unknown> = {}): Promise<number[]> {
    const subscriptions = topics.map((topic) => ({ topic, qos: 2 as const, ...options }));
    this.send({ cmd: "subscribe", messageId: 1, subscriptions });
    return (await this.next("suback")).granted as number[];
  }

  /** The next packet of this kind that was not returned yet; those before it are skipped. */
  async next<C extends Packet["cmd"]>(cmd: C): Promise<Extract<Packet, { cmd: C }>> {
    return await waitFor(() => {
      while (this.#read < this.packets.length) {
        const packet = this.packets[this.#read++]!;
        if (packet.cmd === cmd) return packet as Extract<Packet, { cmd: C }>;
      }
      if (this.closed) throw new Error("the broker has closed the connection");
      return undefined;
    }, { what: `a ${cmd} packet`, timeoutMs: 10_000 });
  }

  /** Packets of this kind that came so far. */
  all<C extends Packet["cmd"]>(cmd: C): Extract<Packet, { cmd: C }>[] {
    return this.packets.filter((packet): packet is Extract<Packet, { cmd: C }> => packet.cmd === cmd);
  }

  async count<C extends Packet["cmd"]>(cmd: C, count: number): Promise<Extract<Packet, { cmd: C }>[]> {
    await waitFor(() => this.all(cmd).length >= count, {
      what: `${count} ${cmd} packets; there are ${this.all(cmd).length}`,
    });
    return this.all(cmd);
  }

  /** Returns when the broker has answered what was sent before, and all that it sent meanwhile has come. */
  async barrier(): Promise<void> {
    this.send({ cmd: "pingreq" });
    await this.next("pingresp");
  }

  /** Breaks the connection by a reset. */
  async cut(): Promise<void> {
    this.socket.resetAndDestroy();
    await this.#gone.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.destroy();
    await this.#gone.promise;
  }
}
