/**
 * Which topic filters are wanted, which ones the broker's session may hold, and the packets that make the two equal.
 *
 * Promises that a filter is never taken for subscribed without the broker having said so, that what is not wanted
 * any more is unsubscribed even where an earlier process subscribed it, and that a refusal or a lowered QoS stays
 * visible until it is mended. Pure state: it sends nothing and has no timer.
 *
 * MQTT 5: everything wanted is subscribed again on every connection, with retain handling 1 (retained messages only
 * for a new subscription), because a broker that was restored from an older file may have forgotten some. MQTT
 * 3.1.1 would send all retained messages again, so there only what is not known to be held is subscribed, and the
 * rest (`again`) where the broker was started anew meanwhile.
 */
import type { ISubackPacket, ISubscribePacket, IUnsubackPacket, IUnsubscribePacket } from "mqtt-packet";
import type { QoS } from "../message.ts";
import { reasonText } from "./broker_error.ts";

export interface SubscriptionsOptions {
  readonly version: 4 | 5;
  /** Asked for with every filter. */
  readonly qos: QoS;
  /** What the session on the broker holds from an earlier process. */
  readonly previousFilters: readonly string[];
}

export interface RefusedFilter {
  readonly filter: string;
  readonly reason: string;
}

export interface LoweredFilter {
  readonly filter: string;
  readonly granted: QoS;
}

/** What is wrong with the subscriptions; both empty: nothing. */
export interface SubscriptionFaults {
  readonly refused: readonly RefusedFilter[];
  readonly lowered: readonly LoweredFilter[];
}

type Request = ISubscribePacket | IUnsubscribePacket;

interface State {
  wanted: boolean;
  /** The broker may have it: we asked for it, or an earlier process did. */
  held: boolean;
  /** What the broker granted in this session; `null`: an earlier process was told; `undefined`: not known. */
  granted: QoS | null | undefined;
  /** Why the broker refused it the last time. */
  refusal: string | undefined;
  /** Packet id of the last request about it: only the answer to that one counts. */
  request: number;
}

/** Some brokers take no more than 8 filters in a packet (AWS IoT Core quotas), and none gains from more. */
const PACKET_FILTERS_MAX = 8;
/** The last packet id belongs to `BrokerWatch`. */
const PACKET_ID_MAX = 65_534;
const RETAIN_ONLY_FOR_NEW = 1;

export class Subscriptions {
  readonly #options: SubscriptionsOptions;
  readonly #filters = new Map<string, State>();
  /** Unanswered requests of this connection: packet id to filters. */
  readonly #pending = new Map<number, readonly string[]>();
  #lastId = 0;

  constructor(options: SubscriptionsOptions) {
    this.#options = options;
    for (const filter of options.previousFilters) {
      this.#filters.set(filter, { ...UNKNOWN, held: true, granted: null });
    }
  }

  /** True when the broker has answered everything. */
  get settled(): boolean {
    return this.#pending.size === 0;
  }

  /** Filters that the broker is known to hold. */
  get held(): string[] {
    return [...this.#filters].filter(([, { granted }]) => granted !== undefined).map(([filter]) => filter);
  }

  /** Granted QoS of each wanted filter; `null`: granted to an earlier process; absent: not granted. */
  get granted(): Record<string, QoS | null> {
    const granted: Record<string, QoS | null> = {};
    for (const [filter, state] of this.#filters) {
      if (state.wanted && state.granted !== undefined) granted[filter] = state.granted;
    }
    return granted;
  }

  get faults(): SubscriptionFaults {
    const refused: RefusedFilter[] = [];
    const lowered: LoweredFilter[] = [];
    for (const [filter, { wanted, granted, refusal }] of this.#filters) {
      if (!wanted) continue;
      if (refusal !== undefined) refused.push({ filter, reason: refusal });
      else if (typeof granted === "number" && granted < this.#options.qos) lowered.push({ filter, granted });
    }
    return { refused, lowered };
  }

  /** From now on these are wanted, and nothing else. Returns whether anything changed. */
  want(filters: readonly string[]): boolean {
    const wanted = new Set(filters);
    let changed = false;
    for (const filter of wanted) {
      const state = this.#filters.get(filter);
      changed ||= !state?.wanted;
      if (!state) this.#filters.set(filter, { ...UNKNOWN, wanted: true });
      else if (!state.wanted) {
        state.wanted = true;
        // An UNSUBSCRIBE may be on its way: ask again behind it, and do not listen to its answer.
        if (state.request !== 0) Object.assign(state, { request: 0, granted: undefined });
      }
    }
    for (const [filter, state] of this.#filters) {
      if (wanted.has(filter) || !state.wanted) continue;
      changed = true;
      state.wanted = false;
      state.refusal = undefined;
    }
    return changed;
  }

  /** A new connection: what to send on it. Without a session the broker holds nothing. */
  connected(sessionPresent: boolean): Request[] {
    this.#pending.clear();
    for (const [filter, state] of this.#filters) {
      state.request = 0;
      state.refusal = undefined;
      if (sessionPresent) continue;
      state.held = false;
      state.granted = undefined;
      if (!state.wanted) this.#filters.delete(filter);
    }
    const trusted = (state: State) => this.#options.version === 4 && isGood(state, this.#options.qos);
    return this.#requests((state) => !trusted(state));
  }

  /** All that is granted, to be asked for once more: the broker may have forgotten some of it. */
  again(): Request[] {
    return this.#requests(({ request, granted }) => request === 0 && granted !== undefined);
  }

  /** What to send after `want` on a connection that stands. */
  changes(): Request[] {
    return this.#requests(({ request, granted }) => request === 0 && granted === undefined);
  }

  /**
   * What to ask for once more: refused or unanswered filters, and with MQTT 5 those whose QoS was lowered (MQTT 3.1.1
   * would bring all their retained messages again).
   */
  retries(): Request[] {
    for (const filters of this.#pending.values()) {
      for (const filter of filters) {
        const state = this.#filters.get(filter);
        if (state?.wanted && state.granted === undefined) state.refusal = "it has not answered";
      }
    }
    return this.#requests((state) =>
      state.refusal !== undefined || this.#options.version === 5 && !isGood(state, this.#options.qos)
    );
  }

  /** Takes in SUBACK or UNSUBACK. Throws where it does not fit the request. */
  answered(packet: ISubackPacket | IUnsubackPacket): void {
    const id = packet.messageId ?? 0;
    const filters = this.#pending.get(id);
    if (!filters) return;
    this.#pending.delete(id);
    const codes = (packet.granted ?? []) as number[];
    if (packet.cmd === "suback" && codes.length !== filters.length) {
      throw new Error(`a suback for ${filters.length} filters has ${codes.length} reason codes`);
    }
    filters.forEach((filter, index) => {
      const state = this.#filters.get(filter);
      if (state?.request !== id) return;
      state.request = 0;
      if (packet.cmd === "suback") this.#subscribed(state, codes[index]!);
      else this.#unsubscribed(filter, codes[index] ?? 0);
    });
  }

  #subscribed(state: State, code: number): void {
    const granted = code < 0x80;
    state.granted = granted ? (code & 3) as QoS : undefined;
    state.held = granted;
    state.refusal = granted ? undefined : this.#refusalText(code);
  }

  #unsubscribed(filter: string, code: number): void {
    if (code < 0x80) this.#filters.delete(filter);
  }

  #refusalText(code: number): string {
    if (code === 0x80) return "it gives no reason; most often its access rules forbid the filter";
    if (code === 135) return "its access rules forbid the filter";
    return reasonText(this.#options.version, code);
  }

  #requests(needed: (state: State) => boolean): Request[] {
    const subscribe: string[] = [];
    const unsubscribe: string[] = [];
    for (const [filter, state] of this.#filters) {
      if (state.wanted && needed(state)) subscribe.push(filter);
      else if (!state.wanted && state.held) unsubscribe.push(filter);
      else if (!state.wanted) this.#filters.delete(filter);
    }
    const { version, qos } = this.#options;
    // Not "retain as published": the flag shall say that a message is an old one, as in MQTT 3.1.1, and not that it will
    // be kept. A route that skips retained messages would else skip all that some devices ever say.
    const options = version === 5 ? { qos, rap: false, rh: RETAIN_ONLY_FOR_NEW } : { qos };
    return [
      ...chunks(unsubscribe).map((filters): Request => ({
        cmd: "unsubscribe",
        messageId: this.#ask(filters),
        unsubscriptions: filters,
      })),
      ...chunks(subscribe).map((filters): Request => ({
        cmd: "subscribe",
        messageId: this.#ask(filters),
        subscriptions: filters.map((topic) => ({ topic, ...options })),
      })),
    ];
  }

  /** Notes a request for these filters and returns its packet id. */
  #ask(filters: readonly string[]): number {
    do this.#lastId = this.#lastId % PACKET_ID_MAX + 1; while (this.#pending.has(this.#lastId));
    this.#pending.set(this.#lastId, filters);
    for (const filter of filters) {
      const state = this.#filters.get(filter)!;
      state.request = this.#lastId;
      state.held = true;
    }
    return this.#lastId;
  }
}

const UNKNOWN: State = { wanted: false, held: false, granted: undefined, refusal: undefined, request: 0 };

/** Granted as asked for, as far as is known. */
function isGood({ granted }: State, qos: QoS): boolean {
  return granted === null || granted !== undefined && granted >= qos;
}

function chunks(filters: readonly string[]): string[][] {
  const parts: string[][] = [];
  for (let at = 0; at < filters.length; at += PACKET_FILTERS_MAX) {
    parts.push(filters.slice(at, at + PACKET_FILTERS_MAX));
  }
  return parts;
}
