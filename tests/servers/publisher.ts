/**
 * A publisher that knows what the broker has accepted: the honest witness of every test about loss.
 *
 * It speaks MQTT 3.1.1 and 5 at QoS 0, 1 and 2, keeps no more in flight than it and the broker allow, counts a
 * message as accepted only after PUBACK or PUBCOMP with a reason below 0x80 (QoS 0: after the write), reconnects
 * when the connection breaks and, unless told otherwise, sends again with DUP what was in flight. A QoS 1 message
 * that was sent twice may rightly arrive twice: `sends` tells. It is no part of Sluice and shares no code with it.
 */
import { Buffer } from "node:buffer";
import { connect as tcpConnect, type Socket } from "node:net";
import { generate, type IConnackPacket, type IPublishPacket, type Packet, parser } from "mqtt-packet";

export type QoS = 0 | 1 | 2;

export interface PublisherOptions {
  /** Default 1. */
  readonly qos?: QoS;
  /** 5 or 4 (= 3.1.1). Default 5. */
  readonly version?: 4 | 5;
  /** Messages that wait for their acknowledgement at a time; mosquitto refuses more than 20. Default 20. */
  readonly inflight?: number;
  readonly clientId?: string;
  /** Send again with DUP after a reconnect what was in flight. Default true; false: its outcome is "unknown". */
  readonly resend?: boolean;
}

export interface PublishOptions {
  readonly qos?: QoS;
  readonly retain?: boolean;
  /** MQTT 5 properties. */
  readonly properties?: IPublishPacket["properties"];
}

/** "unknown": the connection broke, or the broker lost the session, before it answered. */
export interface Outcome {
  readonly outcome: "accepted" | "refused" | "unknown";
  /** Reason code of the last acknowledgement; 0 in MQTT 3.1.1. */
  readonly reason: number;
  /** How many times the PUBLISH was written. */
  readonly sends: number;
}

export interface OutgoingMessage extends PublishOptions {
  readonly topic: string;
  readonly payload: string | Uint8Array;
}

/** waiting: not sent yet; published: waits for PUBACK or PUBREC; released: waits for PUBCOMP. */
interface Flight {
  readonly packet: IPublishPacket;
  readonly settle: (outcome: Outcome) => void;
  state: "waiting" | "published" | "released";
  sends: number;
}

const RECONNECT_PAUSE_MS = 30;
const CONNECT_TIMEOUT_MS = 10_000;

/** Connects a publisher. Throws where the broker cannot be reached or refuses it at first; later it tries for ever. */
export async function openPublisher(url: string, options: PublisherOptions = {}): Promise<Publisher> {
  const publisher = new Publisher(new URL(url), options);
  await publisher.connect();
  return publisher;
}

/** Publishes all messages, waits for their acknowledgements and returns the accepted ones, in order. */
export async function publish<M extends OutgoingMessage>(
  url: string,
  messages: Iterable<M>,
  options: PublisherOptions = {},
): Promise<M[]> {
  await using publisher = await openPublisher(url, options);
  const all = [...messages];
  const outcomes = await Promise.all(all.map((m) => publisher.publish(m.topic, m.payload, m)));
  return all.filter((_, index) => outcomes[index]!.outcome === "accepted");
}

export class Publisher implements AsyncDisposable {
  readonly #url: URL;
  readonly #options: Required<PublisherOptions>;
  /** What waits for its first write, oldest first; `#head` is the next. */
  #waiting: Flight[] = [];
  #head = 0;
  /** By packet id, in the order of sending. */
  readonly #flights = new Map<number, Flight>();
  #socket: Socket | undefined;
  #window: number;
  #nextId = 1;
  #closed = false;
  #reconnecting: Promise<void> | undefined;
  #wake: (() => void) | undefined;
  #idle: (() => void)[] = [];

  constructor(url: URL, options: PublisherOptions) {
    this.#url = url;
    const clientId = options.clientId ?? `publisher-${crypto.randomUUID().slice(0, 12)}`;
    this.#options = { qos: 1, version: 5, inflight: 20, resend: true, ...options, clientId };
    this.#window = this.#options.inflight;
  }

  get connected(): boolean {
    return this.#socket !== undefined;
  }

  /** Messages without an outcome yet. */
  get pending(): number {
    return this.#flights.size + this.#waiting.length - this.#head;
  }

  /** Sends a message as soon as the window has room; resolves with what became of it. Never rejects. */
  publish(topic: string, payload: string | Uint8Array, options: PublishOptions = {}): Promise<Outcome> {
    const { promise, resolve } = Promise.withResolvers<Outcome>();
    const packet: IPublishPacket = {
      cmd: "publish",
      topic,
      payload: typeof payload === "string" ? payload : Buffer.from(payload),
      qos: options.qos ?? this.#options.qos,
      retain: options.retain ?? false,
      dup: false,
      ...(options.properties && this.#options.version === 5 ? { properties: options.properties } : {}),
    };
    if (this.#closed) resolve({ outcome: "unknown", reason: 0, sends: 0 });
    else {
      this.#waiting.push({ packet, settle: resolve, state: "waiting", sends: 0 });
      this.#fill();
    }
    return promise;
  }

  /** Resolves when every message that was given has its outcome. */
  async settled(): Promise<void> {
    if (this.pending > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  /** One attempt to connect; sends again what was in flight. */
  async connect(): Promise<void> {
    const { socket, connack } = await this.#open();
    this.#socket = socket;
    const limit = connack.properties?.receiveMaximum ?? this.#options.inflight;
    this.#window = Math.min(this.#options.inflight, limit);
    socket.once("close", () => this.#onBreak(socket));
    for (const [id, flight] of this.#flights) this.#resume(id, flight, connack.sessionPresent);
    this.#fill();
  }

  /** Sends DISCONNECT and closes. What has no outcome yet becomes "unknown". */
  async close(): Promise<void> {
    this.#closed = true;
    this.#wake?.();
    await this.#reconnecting;
    const socket = this.#socket;
    if (socket && !socket.destroyed) {
      const gone = new Promise((resolve) => socket.once("close", resolve));
      socket.end(this.#encode({ cmd: "disconnect" }));
      const timer = setTimeout(() => socket.destroy(), 2000);
      await gone;
      clearTimeout(timer);
    }
    this.#abandon();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Breaks the connection without DISCONNECT, as a crash would; the publisher then reconnects. */
  break(): void {
    this.#socket?.destroy();
  }

  #open(): Promise<{ socket: Socket; connack: IConnackPacket }> {
    const { promise, resolve, reject } = Promise.withResolvers<{ socket: Socket; connack: IConnackPacket }>();
    const { version } = this.#options;
    const hello = this.#encode(this.#connectPacket());
    const socket = tcpConnect({
      host: this.#url.hostname,
      port: Number(this.#url.port || 1883),
      noDelay: true,
    });
    const timer = setTimeout(() => socket.destroy(new Error("no CONNACK in time")), CONNECT_TIMEOUT_MS);
    let failure: Error | undefined;
    socket.on("error", (error) => failure = error);
    socket.once("close", () => {
      clearTimeout(timer);
      reject(
        new Error(
          `the publisher cannot connect to ${this.#url.host}: ${failure?.message ?? "connection closed"}`,
        ),
      );
    });
    const packets = parser({ protocolVersion: version });
    packets.on("error", (error) => socket.destroy(error));
    packets.on("packet", (packet: Packet) => {
      if (packet.cmd !== "connack") return this.#onPacket(packet);
      clearTimeout(timer);
      const reason = packet.reasonCode ?? packet.returnCode ?? 0;
      if (reason === 0) resolve({ socket, connack: packet });
      else socket.destroy(new Error(`CONNACK refuses with reason ${reason}`));
    });
    socket.on("data", (chunk) => packets.parse(chunk as Buffer));
    socket.write(hello);
    return promise;
  }

  #connectPacket(): Packet {
    const { version, clientId } = this.#options;
    const { username, password } = this.#url;
    return {
      cmd: "connect",
      protocolId: "MQTT",
      protocolVersion: version,
      clientId,
      // The session must outlive a break, or the broker cannot tell a repeated QoS 2 message from a new one.
      clean: false,
      keepalive: 0,
      ...(username ? { username: decodeURIComponent(username) } : {}),
      ...(password ? { password: Buffer.from(decodeURIComponent(password)) } : {}),
      ...(version === 5 ? { properties: { sessionExpiryInterval: 3600 } } : {}),
    };
  }

  #encode(packet: Packet) {
    return generate(packet, { protocolVersion: this.#options.version });
  }

  #onPacket(packet: Packet): void {
    if (packet.cmd === "disconnect") return this.break();
    if (packet.cmd !== "puback" && packet.cmd !== "pubrec" && packet.cmd !== "pubcomp") return;
    const id = packet.messageId!;
    const flight = this.#flights.get(id);
    if (!flight) return;
    const reason = packet.reasonCode ?? 0;
    if (packet.cmd === "pubrec" && reason < 0x80) {
      flight.state = "released";
      this.#socket?.write(this.#encode({ cmd: "pubrel", messageId: id }));
      return;
    }
    this.#settle(id, flight, reason < 0x80 ? "accepted" : "refused", reason);
    this.#fill();
  }

  #settle(id: number, flight: Flight, outcome: Outcome["outcome"], reason = 0): void {
    this.#flights.delete(id);
    flight.settle({ outcome, reason, sends: flight.sends });
    this.#tellIdle();
  }

  #tellIdle(): void {
    if (this.pending === 0) this.#idle.splice(0).forEach((resolve) => resolve());
  }

  /** Sends from the queue as long as the window has room. */
  #fill(): void {
    while (this.#socket && this.#flights.size < this.#window && this.#head < this.#waiting.length) {
      const flight = this.#waiting[this.#head++]!;
      if (this.#head === this.#waiting.length) {
        this.#waiting = [];
        this.#head = 0;
      }
      const id = this.#freeId();
      this.#flights.set(id, flight);
      this.#send(id, flight);
    }
  }

  #freeId(): number {
    while (this.#flights.has(this.#nextId)) this.#nextId = this.#nextId % 65_535 + 1;
    const id = this.#nextId;
    this.#nextId = id % 65_535 + 1;
    return id;
  }

  #send(id: number, flight: Flight): void {
    flight.packet.messageId = id;
    flight.packet.dup = flight.sends > 0 && flight.packet.qos > 0;
    flight.state = "published";
    flight.sends++;
    const written = flight.packet.qos > 0 ? undefined : (error?: Error | null) => {
      if (this.#flights.get(id) !== flight) return;
      this.#settle(id, flight, error ? "unknown" : "accepted");
      this.#fill();
    };
    this.#socket!.write(this.#encode(flight.packet), written);
  }

  /** After a reconnect. A QoS 2 exchange whose session is lost has an end that nobody can know. */
  #resume(id: number, flight: Flight, sessionPresent: boolean): void {
    const unknowable = flight.packet.qos === 2 && !sessionPresent;
    if (unknowable || !this.#options.resend || flight.packet.qos === 0) this.#settle(id, flight, "unknown");
    else if (flight.state === "released") this.#socket!.write(this.#encode({ cmd: "pubrel", messageId: id }));
    else this.#send(id, flight);
  }

  #onBreak(socket: Socket): void {
    if (this.#socket !== socket) return;
    this.#socket = undefined;
    if (!this.#closed) this.#reconnecting = this.#reconnect();
  }

  async #reconnect(): Promise<void> {
    while (!this.#closed) {
      try {
        return await this.connect();
      } catch {
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, RECONNECT_PAUSE_MS);
          this.#wake = () => (clearTimeout(timer), resolve());
        });
      }
    }
  }

  #abandon(): void {
    for (const [id, flight] of this.#flights) this.#settle(id, flight, "unknown");
    const unsent = this.#waiting.slice(this.#head);
    this.#waiting = [];
    this.#head = 0;
    for (const flight of unsent) flight.settle({ outcome: "unknown", reason: 0, sends: 0 });
    this.#tellIdle();
  }
}
