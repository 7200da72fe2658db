/**
 * What the broker says about itself in `$SYS`: its version, how many messages it has thrown away, and, where it
 * matters (`Subscriptions`), how long it has been up.
 *
 * mosquitto drops messages for a sleeping client without telling anyone but this counter. Promises that these
 * messages never reach the stream of arrivals, unless the user subscribes to `$SYS` himself, and that a broker which
 * does not like being asked is not asked again. The counter is the broker's: it counts for all its clients.
 */
import type { IPublishPacket, ISubscribePacket, IUnsubscribePacket } from "mqtt-packet";

const DROPPED = "$SYS/broker/publish/messages/dropped";
const VERSION = "$SYS/broker/version";
const UPTIME = "$SYS/broker/uptime";

/** So many connections may end before the broker has answered, then it is taken for a refusal. */
const SNUBS_MAX = 3;

/** Outside of what `Subscriptions` gives out. */
export const WATCH_PACKET_ID = 65_535;

/** What a message says that came from `$SYS`. */
export interface Seen {
  /** It is ours alone and no arrival. */
  readonly consumed: boolean;
  /** So many more messages were dropped than at the last look. */
  readonly dropped: number;
  /** For how long the broker has been up. */
  readonly uptimeMs: number | undefined;
}

export class BrokerWatch {
  readonly #version: 4 | 5;
  readonly #topics: readonly string[];
  #dropped: number | undefined;
  #brokerVersion: string | undefined;
  #droppedSinceOpen: number | undefined;
  /** The user subscribes to $SYS himself: look, but leave everything to him. */
  #shared = false;
  #unanswered = false;
  /** Connections in a row that ended before an answer. */
  #snubs = 0;

  /** `previousDropped`: the broker's counter as an earlier process saw it last. */
  constructor(version: 4 | 5, previousDropped?: number) {
    this.#version = version;
    this.#dropped = previousDropped;
    this.#topics = version === 5 ? [DROPPED, VERSION] : [DROPPED, VERSION, UPTIME];
  }

  /**
   * Messages that the broker dropped, for any client, since the source was opened, or since an earlier process looked
   * last; `undefined`: it does not say.
   */
  get dropped(): number | undefined {
    return this.#droppedSinceOpen;
  }

  /** The broker's own counter; `undefined`: it was never seen. */
  get counter(): number | undefined {
    return this.#dropped;
  }

  /** As the broker calls itself. */
  get brokerVersion(): string | undefined {
    return this.#brokerVersion;
  }

  /** What to send on a new connection to have `$SYS` told, or not told any more. */
  connected(filters: readonly string[]): (ISubscribePacket | IUnsubscribePacket)[] {
    this.#shared = filters.some((filter) =>
      filter.startsWith("$SYS/") || /^\$share\/[^/]+\/\$SYS\//.test(filter)
    );
    if (this.#snubs >= SNUBS_MAX) return [];
    if (this.#shared) {
      const own = this.#topics.filter((topic) => !filters.includes(topic));
      return own.length === 0
        ? []
        : [{ cmd: "unsubscribe", messageId: WATCH_PACKET_ID, unsubscriptions: own }];
    }
    this.#unanswered = true;
    return [{
      cmd: "subscribe",
      messageId: WATCH_PACKET_ID,
      subscriptions: this.#topics.map((topic) =>
        this.#version === 5 ? { topic, qos: 0, rh: 0 } : { topic, qos: 0 }
      ),
    }];
  }

  /** SUBACK came. A refusal is no fault. */
  answered(): void {
    this.#unanswered = false;
    this.#snubs = 0;
  }

  /**
   * The connection has ended. Some brokers answer a forbidden SUBSCRIBE by closing it (AWS IoT Core): then it is not
   * sent again. `byBroker`: the broker did it, not a line that breaks again and again.
   */
  lost(byBroker: boolean): void {
    if (this.#unanswered) this.#snubs = byBroker ? this.#snubs + 1 : 0;
    this.#unanswered = false;
  }

  /** Looks at a message that came; `undefined`: it is none of ours. */
  look({ topic, payload }: IPublishPacket): Seen | undefined {
    if (!this.#topics.includes(topic)) return undefined;
    const text = payload.toString();
    if (topic === VERSION) this.#brokerVersion = text.slice(0, 100);
    const dropped = topic === DROPPED ? this.#count(Number(text)) : 0;
    // mosquitto: "4711 seconds".
    const uptimeMs = topic === UPTIME ? Number.parseFloat(text) * 1_000 : NaN;
    return { consumed: !this.#shared, dropped, uptimeMs: Number.isNaN(uptimeMs) ? undefined : uptimeMs };
  }

  #count(total: number): number {
    if (!Number.isSafeInteger(total)) return 0;
    // A smaller number is that of a broker which was started anew. What the first one holds may be years old.
    const before = this.#dropped ?? total;
    const more = total < before ? total : total - before;
    this.#dropped = total;
    this.#droppedSinceOpen = (this.#droppedSinceOpen ?? 0) + more;
    return more;
  }
}
