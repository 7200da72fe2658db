/**
 * Asks a broker whether the gateway could work with it: can it be reached, does it let us in, may we subscribe.
 *
 * Promises to disturb nothing: it comes with a client id of its own and without a session, leaves none behind,
 * acknowledges nothing, and joins no shared subscription (it would take the group's messages away), but tries the
 * filter inside of it.
 */
import type { IConnackPacket, Packet } from "mqtt-packet";
import { type Clock, sleep, systemClock } from "../clock.ts";
import type { QoS } from "../message.ts";
import { BrokerError } from "./broker_error.ts";
import type { BrokerOptions } from "./broker_options.ts";
import { BrokerWatch, WATCH_PACKET_ID } from "./broker_watch.ts";
import { Connection } from "./connection.ts";
import { type LoweredFilter, type RefusedFilter, Subscriptions } from "./subscriptions.ts";

export interface ProbeOptions extends BrokerOptions {
  readonly filters: readonly string[];
  /** @default 2 */
  readonly qos?: QoS;
  /** How long the broker may take for all subscriptions, in milliseconds. @default 10000 */
  readonly subscribeTimeoutMs?: number;
  /** Also ask how long it would keep a session, wanting this many seconds (MQTT 5). @default undefined: do not ask */
  readonly sessionExpirySec?: number;
  readonly clock?: Clock;
}

export interface ProbeResult {
  /** It let us in and granted every filter. A lowered QoS is no failure. */
  readonly ok: boolean;
  /** Why not, where the connection itself failed. */
  readonly error: BrokerError | undefined;
  readonly refused: readonly RefusedFilter[];
  readonly lowered: readonly LoweredFilter[];
  /** As the broker calls itself, where it says so. */
  readonly brokerVersion: string | undefined;
  /** Messages that it has dropped since it was started, for any client; undefined: it does not say. */
  readonly brokerDropped: number | undefined;
  /** For how long it keeps a session; undefined: as long as it was asked to, or it was not asked. */
  readonly sessionExpirySec: number | undefined;
  /** The log-in as the broker confirmed it, with its limits (MQTT 5). */
  readonly limits: IConnackPacket["properties"];
}

const SUBSCRIBE_TIMEOUT_MS = 10_000;
/** A retained message comes with the subscription or not at all. */
const VERSION_WAIT_MS = 1_000;
const DROPPED = "$SYS/broker/publish/messages/dropped";
/** For the answer to a second log-in. */
const SESSION_WAIT_MS = 3_000;

/** Connects, tries the filters, and goes. Rejects only with the signal's reason. */
export async function probe(options: ProbeOptions, signal: AbortSignal): Promise<ProbeResult> {
  signal.throwIfAborted();
  const one = new Probe(options);
  let result: ProbeResult;
  try {
    result = await one.result(signal);
  } finally {
    await one.close();
  }
  const { sessionExpirySec, version = 5 } = options;
  if (result.error || sessionExpirySec === undefined || version !== 5) return result;
  return { ...result, sessionExpirySec: await grantedSession(options, sessionExpirySec, signal) };
}

/**
 * Logs in once more, now for a session, and takes it back when leaving. It subscribes to nothing: should it be cut off
 * before it has left, the broker keeps an empty session and no messages.
 */
async function grantedSession(
  options: ProbeOptions,
  sessionExpirySec: number,
  signal: AbortSignal,
): Promise<number | undefined> {
  const { clock = systemClock } = options;
  const answered = Promise.withResolvers<number | undefined>();
  const connection = new Connection({
    ...options,
    clientId: `sluice-check-${crypto.randomUUID().slice(0, 8)}`,
    cleanStart: true,
    sessionExpirySec,
  }, {
    connected: ({ properties }) => answered.resolve(properties?.sessionExpiryInterval),
    packet: () => {},
  });
  const ended = connection.run().then(() => undefined);
  const over = () => sleep(SESSION_WAIT_MS, signal, clock).then(() => undefined, () => undefined);
  try {
    const granted = await Promise.race([answered.promise, ended, over()]);
    connection.send({ cmd: "disconnect", reasonCode: 0, properties: { sessionExpiryInterval: 0 } });
    // The broker closes after it has read this.
    await Promise.race([ended, over()]);
    signal.throwIfAborted();
    return granted;
  } finally {
    await connection.close();
  }
}

class Probe {
  readonly #options: ProbeOptions;
  readonly #clock: Clock;
  readonly #subscriptions: Subscriptions;
  readonly #watch: BrokerWatch;
  readonly #connection: Connection;
  readonly #settled = Promise.withResolvers<void>();
  readonly #versionSeen = Promise.withResolvers<void>();
  #limits: IConnackPacket["properties"];
  #dropped: number | undefined;

  constructor(options: ProbeOptions) {
    const { version = 5, qos = 2, filters, clock = systemClock } = options;
    this.#options = options;
    this.#clock = clock;
    this.#subscriptions = new Subscriptions({ version, qos, previousFilters: [] });
    this.#subscriptions.want(filters.map((filter) => filter.replace(/^\$share\/[^/]+\//, "")));
    this.#watch = new BrokerWatch(version);
    this.#connection = new Connection({
      ...options,
      clientId: `sluice-check-${crypto.randomUUID().slice(0, 8)}`,
      cleanStart: true,
      receiveMaximum: 20,
    }, {
      connected: (connack) => this.#onConnected(connack),
      packet: (packet) => this.#onPacket(packet),
    });
  }

  async result(signal: AbortSignal): Promise<ProbeResult> {
    const over = new AbortController();
    const ends = AbortSignal.any([signal, over.signal]);
    const wait = (ms: number) => sleep(ms, ends, this.#clock).then(() => undefined, () => undefined);
    const ended = this.#connection.run();
    const { subscribeTimeoutMs = SUBSCRIBE_TIMEOUT_MS, connectTimeoutMs = 10_000 } = this.#options;
    try {
      let error = await Promise.race([
        ended,
        this.#settled.promise,
        wait(connectTimeoutMs + subscribeTimeoutMs),
      ]);
      error ??= await Promise.race([ended, this.#versionSeen.promise, wait(VERSION_WAIT_MS)]);
      signal.throwIfAborted();
      return this.#report(error ?? undefined);
    } finally {
      over.abort();
    }
  }

  async close(): Promise<void> {
    await this.#connection.close();
  }

  #report(error: BrokerError | undefined): ProbeResult {
    if (!this.#subscriptions.settled) this.#subscriptions.retries();
    const { refused, lowered } = this.#subscriptions.faults;
    return {
      ok: error === undefined && refused.length === 0,
      error,
      refused,
      lowered,
      brokerVersion: this.#watch.brokerVersion,
      brokerDropped: this.#dropped,
      sessionExpirySec: undefined,
      limits: this.#limits,
    };
  }

  #onConnected({ properties }: IConnackPacket): void {
    this.#limits = properties;
    const requests = this.#subscriptions.connected(false);
    for (const packet of requests) this.#connection.send(packet);
    for (const packet of this.#watch.connected([])) this.#connection.send(packet);
    if (requests.length === 0) this.#settled.resolve();
  }

  #onPacket(packet: Packet): void {
    if (packet.cmd === "publish") {
      this.#watch.look(packet);
      if (packet.topic === DROPPED) this.#dropped = Number(packet.payload.toString()) || 0;
    }
    if (this.#watch.brokerVersion !== undefined) this.#versionSeen.resolve();
    if (packet.cmd !== "suback" || packet.messageId === WATCH_PACKET_ID) return;
    this.#subscriptions.answered(packet);
    if (this.#subscriptions.settled) this.#settled.resolve();
  }
}
