/**
 * What a source is told, what it tells, and what it shows of itself. Types only.
 */
import type { Clock } from "../clock.ts";
import type { Source } from "../contracts.ts";
import type { QoS } from "../message.ts";
import type { BrokerError } from "./broker_error.ts";
import type { BrokerOptions } from "./broker_options.ts";
import type { LoweredFilter, RefusedFilter } from "./subscriptions.ts";

/** What the source tells as it happens. */
export type SourceEvent =
  /** Logged in. */
  | {
    readonly kind: "connected";
    readonly sessionPresent: boolean;
    /** What the broker granted, in seconds (MQTT 5; `undefined`: what was asked for). */
    readonly sessionExpirySec: number | undefined;
  }
  /** A connection that stood has ended; `retryMs`: when the next attempt is made. */
  | { readonly kind: "disconnected"; readonly error: BrokerError; readonly retryMs: number }
  /** An attempt to connect or log in failed. */
  | { readonly kind: "refused"; readonly error: BrokerError; readonly retryMs: number }
  /** There had been a session and the broker has none any more: what it kept for us is lost. */
  | { readonly kind: "sessionNotResumed" }
  /** The broker keeps the session for less long than asked for, or is asked to keep none (MQTT 5). Told once. */
  | { readonly kind: "sessionExpires"; readonly askedSec: number; readonly grantedSec: number }
  /** What is wrong with the subscriptions now; with both lists empty all is well again. */
  | {
    readonly kind: "subscriptions";
    readonly refused: readonly RefusedFilter[];
    readonly lowered: readonly LoweredFilter[];
  }
  /** The broker has thrown away `more` messages, for this or another client, since this was last told. Once a minute at most. */
  | { readonly kind: "brokerDropped"; readonly more: number };

export interface SourceOptions extends BrokerOptions {
  /** Must stay the same for ever: the session hangs on it. */
  readonly clientId: string;
  /** How long the broker keeps the session while the gateway is away, in seconds (MQTT 5). @default 604800 */
  readonly sessionExpirySec?: number;
  /** How long an arrival may wait for company, in milliseconds. @default 10 */
  readonly lingerMs?: number;
  /** As `subscribe`. */
  readonly filters: readonly string[];
  /**
   * What `onSubscribed` reported last for this client id, perhaps to an earlier process. Where it is empty, a session
   * that the broker has all the same is one of which nothing is known: as good as lost. @default []
   */
  readonly previousFilters?: readonly string[];
  /** What `onDropped` reported last, perhaps to an earlier process. */
  readonly previousDropped?: number;
  /** Asked for with every filter. @default 2 */
  readonly qos?: QoS;
  /** Messages that the broker may send without an acknowledgement (MQTT 5), 1..65535. @default 1000 */
  readonly receiveMaximum?: number;
  readonly onEvent?: (event: SourceEvent) => void;
  /** The filters that the session holds from now on: to be stored and given as `previousFilters` to the next process. */
  readonly onSubscribed?: (filters: readonly string[]) => void;
  /** The broker's counter of messages thrown away, when it is first seen and whenever its growth is told: to be stored, so that what is dropped for an absent gateway is seen by the next process. */
  readonly onDropped?: (counter: number) => void;
  readonly clock?: Clock;
  readonly random?: () => number;
}

export interface SourceStats {
  readonly connected: boolean;
  /** Of the current or last connection. */
  readonly sessionPresent: boolean;
  /** Successful log-ins. */
  readonly connects: number;
  /** Why the last connection or attempt ended; `undefined` while connected. */
  readonly lastError: BrokerError | undefined;
  /** Since when it is connected, or not: milliseconds since 1970. */
  readonly sinceMs: number;
  /** Messages of this connection whose PUBACK or PUBCOMP is still to be sent. */
  readonly unacknowledged: number;
  readonly inboxBytes: number;
  /** Granted QoS by filter; `null`: granted to an earlier process; absent: not granted. */
  readonly subscriptions: Readonly<Record<string, QoS | null>>;
  /** Filters that the broker refuses: their messages do not come. */
  readonly refused: readonly RefusedFilter[];
  /** See `BrokerWatch.dropped`. */
  readonly brokerDropped: number | undefined;
  readonly brokerVersion: string | undefined;
}

export interface MqttSource extends Source {
  readonly stats: SourceStats;
}
