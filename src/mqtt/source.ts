/**
 * The broker's side of the gateway: `Source` over MQTT 5 or 3.1.1, with a session that outlives connections.
 *
 * Promises to connect again for ever, to hand over everything that came in the order of the wire before anything of
 * it is acknowledged, and to acknowledge nothing by itself; a QoS 2 message is handed over with its PUBLISH, so that
 * it can be stored before PUBREC. Acknowledgements go out in the order in which they are given, many in one write, and
 * never over another connection than the one that brought the message. It publishes nothing and stores nothing.
 */
import type { IConnackPacket, IPublishPacket, Packet } from "mqtt-packet";
import { Backoff } from "../backoff.ts";
import { type Clock, sleep, systemClock, type Timer } from "../clock.ts";
import type { Arrival } from "../message.ts";
import { acknowledgements } from "./acknowledgements.ts";
import { type BrokerError, pushedOut } from "./broker_error.ts";
import { brokerAddress, type TlsOptions } from "./broker_options.ts";
import { BrokerWatch, WATCH_PACKET_ID } from "./broker_watch.ts";
import { Connection } from "./connection.ts";
import { Inbox } from "./inbox.ts";
import type { MqttSource, SourceEvent, SourceOptions, SourceStats } from "./source_options.ts";
import { type SubscriptionFaults, Subscriptions } from "./subscriptions.ts";

export type { MqttSource, SourceEvent, SourceOptions, SourceStats, TlsOptions };

/** Seven days. */
const SESSION_EXPIRY_SEC = 7 * 24 * 3600;
const RECEIVE_MAXIMUM = 1000;
/** What a broker sends at a time to a client of MQTT 3.1.1, unless told otherwise (mosquitto: max_inflight_messages). */
const WINDOW_V4 = 20;
const RETRY_FIRST_MS = 250;
const RETRY_MAX_MS = 30_000;
/** After connections that stood for a moment only: longer waits would make a shaky line worse than it is. */
const RETRY_UNSTABLE_MAX_MS = 2_000;
const RETRY_SLOW_FIRST_MS = 5_000;
const RETRY_SLOW_MAX_MS = 60_000;
/** A connection that stood for so long was a good one. */
const STABLE_MS = 10_000;
/** So many connections that the broker closes soon after the log-in look like two clients with one client id. */
const SHORT_LIVES_MAX = 5;
/** Longer than two clients wait that know each other already (`RETRY_SLOW_MAX_MS`). */
const SHORT_LIFE_MS = 120_000;
const RESUBSCRIBE_MS = 60_000;
const DROPPED_EVERY_MS = 60_000;
/** A broker that was started so long before this process has written down what was subscribed (mosquitto: autosave_interval). */
const AUTOSAVE_MS = 1_800_000;

/** Begins to connect at once and returns at once. Throws `ConfigurationError` where the URL is none. */
export function openSource(options: SourceOptions): MqttSource {
  return new ReconnectingSource(options);
}

class ReconnectingSource implements MqttSource {
  readonly #options: SourceOptions;
  readonly #clock: Clock;
  readonly #inbox: Inbox;
  readonly #subscriptions: Subscriptions;
  readonly #watch: BrokerWatch;
  readonly #window: number;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  /** For attempts in a row that came to nothing; for short connections in a row; for what only annoys. */
  readonly #soon: Backoff;
  readonly #unstable: Backoff;
  readonly #slow: Backoff;
  #filters: readonly string[];
  #connection: Connection | undefined;
  /** Number of the current connection. */
  #number = 0;
  #inFlight = 0;
  #hadSession: boolean;
  #sessionPresent = false;
  /** What the broker granted the last time, in seconds. */
  #expirySec: number | undefined;
  /** When the broker was last known to hold what `Subscriptions` says; a later start of it puts that in doubt. */
  #knownAt: number;
  /** Dropped by the broker and not told yet; a pause after telling; what was last reported of the counter. */
  #untold = 0;
  #droppedTimer: Timer | undefined;
  #noted: number | undefined;
  /** On this connection the broker has said how long it has been up. */
  #uptimeSeen = false;
  #connects = 0;
  /** Connections in a row that the broker closed soon after the log-in, without a reason. */
  #shortLives = 0;
  #lastError: BrokerError | undefined;
  #sinceMs: number;
  #reported: string;
  #faults = "";
  #retryTimer: Timer | undefined;

  constructor(options: SourceOptions) {
    brokerAddress(options.url);
    const { version = 5, previousFilters = [], random, clock = systemClock } = options;
    this.#options = options;
    this.#clock = clock;
    this.#sinceMs = clock.wallMs();
    this.#knownAt = clock.now() - AUTOSAVE_MS;
    this.#filters = options.filters;
    this.#hadSession = previousFilters.length > 0;
    this.#reported = JSON.stringify(previousFilters.toSorted());
    this.#window = version === 5 ? options.receiveMaximum ?? RECEIVE_MAXIMUM : WINDOW_V4;
    this.#inbox = new Inbox({
      lingerMs: options.lingerMs ?? 10,
      clock,
      onTaken: () => this.#connection?.resume(),
    });
    this.#subscriptions = new Subscriptions({ version, qos: options.qos ?? 2, previousFilters });
    this.#subscriptions.want(options.filters);
    this.#watch = new BrokerWatch(version, options.previousDropped);
    this.#noted = options.previousDropped;
    this.#soon = new Backoff({ firstMs: RETRY_FIRST_MS, maxMs: RETRY_MAX_MS, random });
    this.#unstable = new Backoff({ firstMs: RETRY_FIRST_MS, maxMs: RETRY_UNSTABLE_MAX_MS, random });
    this.#slow = new Backoff({ firstMs: RETRY_SLOW_FIRST_MS, maxMs: RETRY_SLOW_MAX_MS, random });
    this.#running = this.#run();
  }

  get stats(): SourceStats {
    return {
      connected: this.#connection?.established ?? false,
      sessionPresent: this.#sessionPresent,
      connects: this.#connects,
      lastError: this.#lastError,
      sinceMs: this.#sinceMs,
      unacknowledged: this.#inFlight,
      inboxBytes: this.#inbox.bytes,
      subscriptions: this.#subscriptions.granted,
      refused: this.#subscriptions.faults.refused,
      brokerDropped: this.#watch.dropped,
      brokerVersion: this.#watch.brokerVersion,
    };
  }

  arrivals(signal: AbortSignal): AsyncIterable<readonly Arrival[]> {
    return this.#inbox.arrivals(signal);
  }

  acknowledge(arrivals: readonly Arrival[]): void {
    this.#inbox.settle(arrivals);
    if (!this.#connection?.established) return;
    const { bytes, completed } = acknowledgements(arrivals, this.#number);
    // A PUBREL of an earlier connection's message is answered too: the count must not go below nothing.
    this.#inFlight = Math.max(0, this.#inFlight - completed);
    if (bytes.length > 0) this.#connection.write(bytes);
  }

  subscribe(filters: readonly string[]): void {
    this.#filters = filters;
    if (!this.#subscriptions.want(filters) || !this.#connection?.established) return;
    this.#sendAll(this.#subscriptions.changes());
    this.#reportSubscriptions();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new DOMException("the source is closed", "AbortError"));
    await this.#connection?.close();
    await this.#running;
    this.#droppedTimer?.cancel();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const before = this.#connects;
      const startedAt = this.#clock.now();
      const connection = this.#connect();
      this.#connection = connection;
      const ended = await connection.run();
      this.#connection = undefined;
      this.#inFlight = 0;
      this.#retryTimer?.cancel();
      if (signal.aborted) break;
      const stood = this.#connects > before;
      if (stood) {
        this.#watch.lost(ended.kind === "closed" || ended.code !== undefined);
        if (this.#subscriptions.settled) this.#knownAt = connection.heardAt;
      }
      const lifeMs = this.#clock.now() - startedAt;
      const error = this.#suspect(ended, stood && lifeMs < SHORT_LIFE_MS);
      const retryMs = this.#retryMs(error, stood, lifeMs);
      this.#lastError = error;
      if (stood) this.#sinceMs = this.#clock.wallMs();
      this.#tell({ kind: stood ? "disconnected" : "refused", error, retryMs });
      await sleep(retryMs, signal, this.#clock).catch(() => {});
    }
  }

  #connect(): Connection {
    const { sessionExpirySec = SESSION_EXPIRY_SEC } = this.#options;
    const number = this.#number + 1;
    const connection = new Connection({
      ...this.#options,
      sessionExpirySec,
      receiveMaximum: this.#window,
      clock: this.#clock,
    }, {
      connected: (connack) => this.#onConnected(number, connack),
      packet: (packet, receivedAtMs) => this.#onPacket(connection, packet, receivedAtMs),
    });
    return connection;
  }

  /**
   * Sees two clients that push each other out, where the broker does not say so (MQTT 3.1.1; mosquitto 2.0). A broker
   * that is being restarted refuses an attempt now and then, which begins the count anew.
   */
  #suspect(error: BrokerError, short: boolean): BrokerError {
    this.#shortLives = short && error.kind === "closed" ? this.#shortLives + 1 : 0;
    return this.#shortLives < SHORT_LIVES_MAX ? error : pushedOut(error, this.#shortLives);
  }

  #retryMs(error: BrokerError, stood: boolean, lifeMs: number): number {
    // Nobody pulls, and every new connection would bring the same messages once more.
    if (this.#inbox.full) return RETRY_MAX_MS;
    if (stood) this.#soon.reset();
    if (stood && lifeMs >= STABLE_MS) this.#unstable.reset();
    // Two clients that push each other out both stand for as long as the other one waits.
    if (stood && lifeMs >= (error.slow ? SHORT_LIFE_MS : STABLE_MS)) this.#slow.reset();
    if (error.slow) return Math.max(RETRY_SLOW_FIRST_MS, this.#slow.nextMs());
    return stood ? this.#unstable.nextMs() : this.#soon.nextMs();
  }

  #onConnected(number: number, { sessionPresent, properties }: IConnackPacket): void {
    this.#number = number;
    this.#connects++;
    this.#sessionPresent = sessionPresent;
    this.#uptimeSeen = false;
    this.#lastError = undefined;
    this.#sinceMs = this.#clock.wallMs();
    // A session of which nothing was noted may have begun a moment before an earlier process was killed.
    if (!sessionPresent || !this.#hadSession) {
      this.#inbox.push({ kind: "sessionLost", connection: number }, 0, true);
    }
    const requests = this.#subscriptions.connected(sessionPresent);
    if (!sessionPresent) this.#reportHeld();
    // What an earlier connection could not answer first, then what is nice to know.
    this.#sendAll([...requests, ...this.#watch.connected(this.#filters)]);
    this.#tell({ kind: "connected", sessionPresent, sessionExpirySec: properties?.sessionExpiryInterval });
    if (!sessionPresent && this.#hadSession) this.#tell({ kind: "sessionNotResumed" });
    this.#hadSession = true;
    this.#lookAtExpiry(properties?.sessionExpiryInterval);
    this.#scheduleRetry();
    if (this.#inbox.full) this.#connection!.pause();
  }

  #lookAtExpiry(grantedSec: number | undefined): void {
    if (this.#options.version === 4) return;
    const { sessionExpirySec: askedSec = SESSION_EXPIRY_SEC } = this.#options;
    const expirySec = grantedSec ?? askedSec;
    if (expirySec !== this.#expirySec && (expirySec === 0 || expirySec < askedSec)) {
      this.#tell({ kind: "sessionExpires", askedSec, grantedSec: expirySec });
    }
    this.#expirySec = expirySec;
  }

  #onPacket(connection: Connection, packet: Packet, receivedAtMs: number): void {
    switch (packet.cmd) {
      case "publish":
        this.#onPublish(packet, receivedAtMs);
        break;
      case "pubrel":
        this.#inbox.push({ kind: "release", packetId: packet.messageId!, connection: this.#number }, 0, true);
        break;
      case "suback":
      case "unsuback":
        if (packet.messageId === WATCH_PACKET_ID) this.#watch.answered();
        else this.#subscriptions.answered(packet);
        this.#reportSubscriptions();
        break;
      default:
        throw new Error(`a subscriber never gets a ${packet.cmd} packet`);
    }
    if (this.#inbox.full) connection.pause();
  }

  #onPublish(packet: IPublishPacket, receivedAtMs: number): void {
    const { topic, qos } = packet;
    const payload = packet.payload as Uint8Array;
    if (topic === "") throw new Error("a publish has no topic, and topic aliases were not agreed on");
    if (qos > 0 && !packet.messageId) throw new Error(`a publish with QoS ${qos} has no packet id`);
    if (topic.startsWith("$SYS/") && this.#look(packet)) return;
    if (qos > 0) this.#inFlight++;
    this.#inbox.push(
      {
        kind: "publish",
        topic,
        payload,
        qos,
        retain: packet.retain,
        receivedAtMs,
        packetId: qos > 0 ? packet.messageId! : 0,
        duplicate: packet.dup,
        connection: this.#number,
      },
      topic.length + payload.length,
      this.#inFlight >= this.#window,
    );
  }

  /** True where the message is for ourselves. Only QoS 0: others must be acknowledged, hence stored. */
  #look(packet: IPublishPacket): boolean {
    const seen = this.#watch.look(packet);
    if (!seen) return false;
    this.#onDropped(seen.dropped);
    if (seen.uptimeMs !== undefined) this.#onUptime(seen.uptimeMs);
    return packet.qos === 0 && seen.consumed;
  }

  /** At most once a minute, but all of it in the end: what is not told here the next process will see. */
  #onDropped(more: number): void {
    this.#untold += more;
    const { counter } = this.#watch;
    if (this.#droppedTimer || counter === undefined || counter === this.#noted) return;
    this.#noted = counter;
    this.#options.onDropped?.(counter);
    if (this.#untold === 0) return;
    this.#tell({ kind: "brokerDropped", more: this.#untold });
    this.#untold = 0;
    this.#droppedTimer = this.#clock.timer(DROPPED_EVERY_MS, () => {
      this.#droppedTimer = undefined;
      this.#onDropped(0);
    });
  }

  /** Asked of brokers of MQTT 3.1.1, where a subscription that we only think to have would stay silent for ever. */
  #onUptime(uptimeMs: number): void {
    const restarted = this.#clock.now() - uptimeMs > this.#knownAt;
    const doubtful = restarted && !this.#uptimeSeen && this.#sessionPresent && this.#options.version === 4;
    this.#uptimeSeen = true;
    if (doubtful) this.#sendAll(this.#subscriptions.again());
  }

  #sendAll(packets: readonly Packet[]): void {
    for (const packet of packets) this.#connection!.send(packet);
  }

  /** Refused and lowered filters are asked for again, as long as the connection stands. */
  #scheduleRetry(): void {
    this.#retryTimer?.cancel();
    this.#retryTimer = this.#clock.timer(RESUBSCRIBE_MS, () => {
      this.#scheduleRetry();
      if (this.#connection!.paused) return;
      this.#sendAll(this.#subscriptions.retries());
      this.#reportFaults();
    });
  }

  #reportSubscriptions(): void {
    if (!this.#subscriptions.settled) return;
    this.#reportHeld();
    this.#reportFaults();
  }

  #reportHeld(): void {
    const held = this.#subscriptions.held.sort();
    const text = JSON.stringify(held);
    if (text === this.#reported) return;
    this.#reported = text;
    this.#options.onSubscribed?.(held);
  }

  #reportFaults(): void {
    const faults: SubscriptionFaults = this.#subscriptions.faults;
    const text = faults.refused.length + faults.lowered.length === 0 ? "" : JSON.stringify(faults);
    if (text === this.#faults) return;
    this.#faults = text;
    this.#tell({ kind: "subscriptions", ...faults });
  }

  #tell(event: SourceEvent): void {
    this.#options.onEvent?.(event);
  }
}
