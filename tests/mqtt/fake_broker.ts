/**
 * A broker that does what a test tells it, packet by packet: for what a real one will not do on demand.
 *
 * It answers nothing by itself, not even PINGREQ. Every wait has a deadline and a name for what was awaited.
 */
import { Buffer } from "node:buffer";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import {
  generate,
  type IConnectPacket,
  type IPublishPacket,
  type ISubscribePacket,
  type Packet,
  parser,
} from "mqtt-packet";
import { waitFor } from "../servers/wait_for.ts";

export async function startFakeBroker(): Promise<FakeBroker> {
  const broker = new FakeBroker();
  await broker.listen();
  return broker;
}

export class FakeBroker implements AsyncDisposable {
  readonly clients: FakeClient[] = [];
  readonly #server: Server;
  #taken = 0;

  constructor() {
    this.#server = createServer({ noDelay: true }, (socket) => this.clients.push(new FakeClient(socket)));
  }

  get url(): string {
    return `mqtt://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
  }

  /** The next connection that was not returned yet. */
  async client(timeoutMs?: number): Promise<FakeClient> {
    const index = this.#taken++;
    return await waitFor(() => this.clients[index], { what: `connection ${index + 1}`, timeoutMs });
  }

  /** The next connection, with its CONNECT answered by yes. */
  async accepted(options: { sessionPresent?: boolean } = {}): Promise<FakeClient> {
    const client = await this.client();
    await client.accept(options.sessionPresent);
    return client;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.clients.map((client) => client.cut()));
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

export class FakeClient {
  readonly socket: Socket;
  /** Everything that came, oldest first. */
  readonly packets: Packet[] = [];
  /** The sizes of what was read at a time. */
  readonly chunks: number[] = [];
  closed = false;
  #read = 0;
  readonly #gone = Promise.withResolvers<void>();

  constructor(socket: Socket) {
    this.socket = socket;
    const reader = parser();
    reader.on("packet", (packet) => this.packets.push(packet));
    socket.on("data", (chunk: Buffer) => {
      this.chunks.push(chunk.length);
      reader.parse(chunk);
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      this.closed = true;
      this.#gone.resolve();
    });
  }

  /** The next packet of this kind that was not returned yet; those before it are skipped. */
  async next<C extends Packet["cmd"]>(cmd: C): Promise<Extract<Packet, { cmd: C }>> {
    return await waitFor(() => {
      while (this.#read < this.packets.length) {
        const packet = this.packets[this.#read++]!;
        if (packet.cmd === cmd) return packet as Extract<Packet, { cmd: C }>;
      }
      if (this.closed) throw new Error("the client has closed the connection");
      return undefined;
    }, { what: `a ${cmd} packet`, timeoutMs: 10_000 });
  }

  /** Packets of this kind that came so far. */
  all<C extends Packet["cmd"]>(cmd: C): Extract<Packet, { cmd: C }>[] {
    return this.packets.filter((packet): packet is Extract<Packet, { cmd: C }> => packet.cmd === cmd);
  }

  get version(): 4 | 5 {
    return (this.packets[0] as IConnectPacket | undefined)?.protocolVersion === 4 ? 4 : 5;
  }

  encode(packet: Packet): Buffer {
    return generate(packet, { protocolVersion: this.version });
  }

  send(...packets: Packet[]): void {
    this.sendBytes(Buffer.concat(packets.map((packet) => this.encode(packet))));
  }

  sendBytes(bytes: Uint8Array | string): void {
    this.socket.write(bytes);
  }

  /** Waits for CONNECT and says yes. */
  async accept(sessionPresent = false): Promise<IConnectPacket> {
    const hello = await this.next("connect");
    this.send(connack(0, sessionPresent));
    return hello;
  }

  /** Waits for a SUBSCRIBE (not that for $SYS) and answers with these codes, or with what was asked for. */
  async grant(...codes: number[]): Promise<ISubscribePacket> {
    let packet: ISubscribePacket;
    do packet = await this.next("subscribe"); while (packet.subscriptions[0]!.topic.startsWith("$SYS/"));
    const granted = codes.length > 0 ? codes : packet.subscriptions.map(({ qos }) => qos);
    this.send({ cmd: "suback", messageId: packet.messageId, granted });
    return packet;
  }

  /** Breaks the connection. */
  async cut(): Promise<void> {
    this.socket.destroy();
    await this.#gone.promise;
  }

  async gone(): Promise<void> {
    await waitFor(() => this.closed, { what: "the client to close the connection", timeoutMs: 10_000 });
  }
}

/** `code` is the reason code of MQTT 5 and the return code of MQTT 3.1.1. */
export function connack(code: number, sessionPresent = false, properties = {}): Packet {
  return { cmd: "connack", sessionPresent, reasonCode: code, returnCode: code, properties };
}

export function publishPacket(
  messageId: number,
  qos: 0 | 1 | 2,
  topic = "a",
  payload: string | Buffer = `payload ${messageId}`,
  more: Partial<IPublishPacket> = {},
): IPublishPacket {
  return {
    cmd: "publish",
    topic,
    payload,
    qos,
    dup: false,
    retain: false,
    ...(qos > 0 ? { messageId } : {}),
    ...more,
  };
}
