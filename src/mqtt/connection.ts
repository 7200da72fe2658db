/**
 * One connection to the broker, from CONNECT to its end.
 *
 * Promises that `run` ends, with one reason, whatever the other side does: a deadline for everything up to CONNACK,
 * a keepalive after it, and the stream is destroyed at the first byte that is not MQTT, because mqtt-packet's parser
 * goes on in the middle of the stream after an error. A packet above the bound is refused by its header, before
 * it is in memory. Packets are handed over in the order of the wire, in the turn of the event loop in which they were
 * read. It does not reconnect and keeps no session.
 *
 * States: connecting (until CONNACK), established, closing (we said DISCONNECT), ended.
 */
import { Buffer } from "node:buffer";
import type { Duplex } from "node:stream";
import { generate, type IConnackPacket, type IConnectPacket, type Packet, parser } from "mqtt-packet";
import { type Clock, systemClock, type Timer } from "../clock.ts";
import {
  BrokerError,
  disconnected,
  earlyEndHint,
  networkError,
  protocolError,
  refusal,
  tooLarge,
} from "./broker_error.ts";
import {
  type BrokerAddress,
  brokerAddress,
  type BrokerOptions,
  CONNECT_TIMEOUT_MS,
  KEEPALIVE_MS,
  PACKET_BYTES_MAX,
} from "./broker_options.ts";
import { Keepalive } from "./keepalive.ts";
import { openTransport } from "./transport.ts";

export interface ConnectionOptions extends BrokerOptions {
  readonly clientId: string;
  /** Begin without a session, and leave none. @default false */
  readonly cleanStart?: boolean;
  /** How long the broker keeps the session after the connection, in seconds (MQTT 5). @default 0 */
  readonly sessionExpirySec?: number;
  /** Unacknowledged messages that the broker may send (MQTT 5). */
  readonly receiveMaximum?: number;
  readonly clock?: Clock;
}

export interface ConnectionEvents {
  /** CONNACK said yes; called before whatever follows it on the wire. */
  connected(connack: IConnackPacket): void;
  /** Any packet after CONNACK but PINGRESP and DISCONNECT. An error that it throws ends the connection. */
  packet(packet: Packet, receivedAtMs: number): void;
}

/** A CONNACK has no business to be larger. */
const CONNACK_BYTES_MAX = 64 * 1024;
/** How long the broker may take to close after our DISCONNECT, and a destroyed stream to say that it is closed. */
const CLOSE_TIMEOUT_MS = 800;

type State = "connecting" | "established" | "closing" | "ended";

/** The parser with what it knows of the packet in progress; `length` is -1 until the header is complete. */
type Parser = ReturnType<typeof parser> & { readonly packet: { readonly length: number } };

export class Connection {
  readonly #options: ConnectionOptions;
  readonly #events: ConnectionEvents;
  readonly #clock: Clock;
  readonly #address: BrokerAddress;
  readonly #version: 4 | 5;
  readonly #parser: Parser;
  readonly #abort = new AbortController();
  readonly #ended = Promise.withResolvers<BrokerError>();
  #state: State = "connecting";
  #stream: Duplex | undefined;
  #keepalive: Keepalive | undefined;
  #closeTimer: Timer | undefined;
  #receivedAtMs = 0;
  #heardAt = 0;
  #paused = false;
  #reason: BrokerError | undefined;

  /** Throws `ConfigurationError` where the URL is none. */
  constructor(options: ConnectionOptions, events: ConnectionEvents) {
    this.#options = options;
    this.#events = events;
    this.#clock = options.clock ?? systemClock;
    this.#address = brokerAddress(options.url);
    this.#version = options.version ?? 5;
    this.#parser = parser({ protocolVersion: this.#version }) as Parser;
    this.#parser.on("packet", (packet) => this.#onPacket(packet));
    this.#parser.on("error", (error) => this.#breach(error.message, error));
  }

  /** True between CONNACK and the end. */
  get established(): boolean {
    return this.#state === "established";
  }

  /** True while nothing is read; answers of the broker are then no longer due. */
  get paused(): boolean {
    return this.#paused;
  }

  /** When something last came, on the monotonic clock. */
  get heardAt(): number {
    return this.#heardAt;
  }

  /** Connects and stays until the connection ends; resolves with the reason. Call it once. */
  async run(): Promise<BrokerError> {
    const deadline = this.#clock.timer(this.#options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS, () => {
      if (this.#state === "connecting") this.#end(this.#silence());
    });
    try {
      await this.#open();
    } catch (error) {
      this.#end(networkError(error, this.#address.display, false));
    }
    const reason = await this.#ended.promise;
    deadline.cancel();
    return reason;
  }

  /** Writes bytes that are MQTT already. Harmless where the connection has ended. */
  write(bytes: Uint8Array): void {
    if (this.#state === "established") this.#stream!.write(bytes);
  }

  send(packet: Packet): void {
    this.write(generate(packet, { protocolVersion: this.#version }));
  }

  /** Stops reading; the keepalive knows. */
  pause(): void {
    if (this.#paused || !this.established) return;
    this.#paused = true;
    this.#keepalive?.mute(true);
    this.#stream!.pause();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#keepalive?.mute(false);
    if (this.established) this.#stream!.resume();
  }

  /** Says DISCONNECT, which leaves the session on the broker, and waits for the broker to close; a second at most. */
  async close(): Promise<void> {
    const reason = new BrokerError("the connection was closed by this side", { kind: "lost" });
    if (this.#state === "established") {
      const stream = this.#stream!;
      this.send({ cmd: "disconnect" });
      this.#state = "closing";
      this.#keepalive?.[Symbol.dispose]();
      // What is unread must be read: a socket closed over unread bytes resets the line and takes our last ACKs with it.
      stream.end();
      stream.resume();
      this.#closeTimer = this.#clock.timer(CLOSE_TIMEOUT_MS, () => this.#end(reason));
    } else this.#end(reason);
    await this.#ended.promise;
  }

  /** Ends the connection at once, without DISCONNECT. */
  destroy(reason: BrokerError): void {
    this.#end(reason);
  }

  async #open(): Promise<void> {
    const password = await this.#options.password?.() ?? this.#address.password;
    const stream = await openTransport(this.#address, this.#options.tls, this.#abort.signal);
    this.#stream = stream;
    stream.on("data", (chunk: Buffer) => this.#onData(chunk));
    stream.on("end", () => this.#onEnd());
    stream.on("error", (error) => this.#end(networkError(error, this.#address.display, this.established)));
    stream.on("close", () => {
      this.#onEnd();
      this.#settle();
    });
    if (this.#state === "ended") return void stream.destroy();
    if (stream.errored) throw stream.errored;
    if (stream.destroyed) return this.#onEnd();
    stream.write(generate(this.#hello(password), { protocolVersion: this.#version }));
  }

  #hello(password: string | undefined): IConnectPacket {
    const { clientId, cleanStart, sessionExpirySec, receiveMaximum, keepaliveMs, username } = this.#options;
    const user = username ?? this.#address.username;
    return {
      cmd: "connect",
      protocolId: "MQTT",
      protocolVersion: this.#version,
      clean: cleanStart ?? false,
      clientId,
      keepalive: Math.min(65_535, Math.ceil((keepaliveMs ?? KEEPALIVE_MS) / 1000)),
      ...(user === undefined ? {} : { username: user }),
      ...(password === undefined ? {} : { password: Buffer.from(password) }),
      ...(this.#version === 5
        ? {
          properties: {
            sessionExpiryInterval: Math.min(0xffff_ffff, sessionExpirySec ?? 0),
            maximumPacketSize: PACKET_BYTES_MAX,
            ...(receiveMaximum === undefined ? {} : { receiveMaximum }),
          },
        }
        : {}),
    };
  }

  #onData(chunk: Buffer): void {
    if (this.#state !== "connecting" && this.#state !== "established") return;
    this.#keepalive?.heard();
    this.#receivedAtMs = this.#clock.wallMs();
    this.#heardAt = this.#clock.now();
    try {
      this.#parser.parse(chunk);
    } catch (error) {
      this.#breach((error as Error).message, error);
    }
    const bytesMax = this.#state === "connecting" ? CONNACK_BYTES_MAX : PACKET_BYTES_MAX;
    const { length } = this.#parser.packet;
    if (length <= bytesMax) return;
    // A broker of MQTT 5 was told the limit, one of MQTT 3.1.1 cannot know it.
    if (this.established && this.#version === 4) {
      return this.#end(tooLarge(length, bytesMax, this.#address.display));
    }
    this.#breach(`it announces a packet of ${length} bytes; ${bytesMax} are the limit`);
  }

  #onPacket(packet: Packet): void {
    if (this.#state === "connecting") return this.#onFirst(packet);
    if (this.#state !== "established" || packet.cmd === "pingresp") return;
    if (packet.cmd === "disconnect") {
      return this.#end(disconnected(packet.reasonCode ?? 0, this.#address.display, packet.properties));
    }
    this.#events.packet(packet, this.#receivedAtMs);
  }

  #onFirst(packet: Packet): void {
    if (packet.cmd !== "connack") return this.#breach(`the first packet is ${packet.cmd}, not connack`);
    const code = (this.#version === 5 ? packet.reasonCode : packet.returnCode) ?? 0;
    if (code !== 0) {
      return this.#end(refusal(this.#version, code, this.#address.display, packet.properties));
    }
    this.#state = "established";
    this.#keepalive = this.#startKeepalive(packet.properties?.serverKeepAlive);
    this.#events.connected(packet);
  }

  /** A broker of MQTT 5 may order another interval, which then counts (MQTT 5 section 3.2.2.3.14). */
  #startKeepalive(orderedSec: number | undefined): Keepalive | undefined {
    const everyMs = orderedSec ? orderedSec * 1000 : this.#options.keepaliveMs ?? KEEPALIVE_MS;
    if (everyMs === 0) return undefined;
    return new Keepalive({
      everyMs,
      clock: this.#clock,
      ping: () => this.send({ cmd: "pingreq" }),
      dead: () => this.#end(this.#silence()),
    });
  }

  #silence(): BrokerError {
    const { display } = this.#address;
    if (this.established) {
      return new BrokerError(`the broker at ${display} has gone silent`, {
        kind: "lost",
        hint: "the broker hangs, or the network between lost the connection without telling",
      });
    }
    const connected = this.#stream !== undefined;
    return new BrokerError(
      connected
        ? `the broker at ${display} takes the connection but does not answer the log-in`
        : `the broker at ${display} cannot be reached: it does not answer`,
      { kind: "unreachable", hint: "check the network and the host in broker.url" },
    );
  }

  #breach(what: string, cause?: unknown): void {
    this.#end(protocolError(what, this.#address.display, this.#state !== "connecting", cause));
  }

  /** The other side closed. */
  #onEnd(): void {
    const { display } = this.#address;
    if (this.established) {
      this.#end(new BrokerError(`the broker at ${display} closed the connection`, { kind: "closed" }));
    } else if (this.#state === "connecting") {
      this.#end(
        new BrokerError(`the broker at ${display} closed the connection during the log-in`, {
          kind: "unreachable",
          hint: earlyEndHint(display),
        }),
      );
    } else this.#end(new BrokerError("the connection was closed by this side", { kind: "lost" }));
  }

  /** The one way to "ended": the first reason counts, and `run` resolves as soon as the stream is closed. */
  #end(reason: BrokerError): void {
    if (this.#state === "ended") return;
    this.#state = "ended";
    this.#reason = reason;
    this.#keepalive?.[Symbol.dispose]();
    this.#closeTimer?.cancel();
    this.#abort.abort(reason);
    if (!this.#stream || this.#stream.closed) return this.#settle();
    this.#closeTimer = this.#clock.timer(CLOSE_TIMEOUT_MS, () => this.#settle());
    this.#stream.destroy();
  }

  #settle(): void {
    this.#closeTimer?.cancel();
    this.#ended.resolve(this.#reason!);
  }
}
