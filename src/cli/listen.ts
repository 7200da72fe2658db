/**
 * Listening to the broker beside the gateway, for `tap` and `discover`: with a client id of its own and a clean session.
 *
 * Promises to leave the gateway's session alone and none of its own behind, to join no shared subscription (it would
 * take the group's messages away), and to connect again when the connection breaks. It gives up only where the first
 * attempt fails or the broker grants nothing.
 */
import { systemClock, type Timer } from "../clock.ts";
import type { Config } from "../config/schema.ts";
import { messageOf, SluiceError, UsageError } from "../errors.ts";
import type { Message } from "../message.ts";
import { brokerAddress, type BrokerOptions } from "../mqtt/broker_options.ts";
import type { ConnectionOptions } from "../mqtt/connection.ts";
import { openSource, type SourceEvent, type SourceOptions } from "../mqtt/source.ts";
import { parsePattern } from "../route/pattern.ts";
import { parseDuration } from "../units.ts";
import type { CommandOption } from "./command.ts";

export const FOR_OPTION: CommandOption = { type: "string", value: "DURATION", summary: "how long to listen" };
export const TOPIC_OPTION: CommandOption = {
  type: "string",
  value: "FILTER",
  summary: "listen to this topic filter instead",
};

const FILTERS_SHOWN = 5;

export interface ListenOptions {
  readonly filters: readonly string[];
  /** Counts from the broker's answer to the subscription; undefined: until the signal. */
  readonly forMs: number | undefined;
  readonly signal: AbortSignal;
  /** Sentences about the connection. */
  readonly say: (sentence: string) => void;
  /** The broker has answered: what is published from now on is heard. */
  readonly onListening?: () => void;
}

/** More filters are asked for together, not one by one. */
const ALSO_AFTER_MS = 200;

/** Calls `hear` for each message, until the time is over or the signal is aborted. `also` adds a filter to listen to. */
export async function listen(
  config: Config,
  options: ListenOptions,
  hear: (message: Message, also: (filter: string) => void) => void,
): Promise<void> {
  // A secret that cannot be read is a wrong configuration, not a broker out of reach.
  await config.broker.password?.read();
  const listener = new Listener(config, options);
  // The timers of the source do not keep the process alive, and between two attempts to connect there is nothing else.
  const awake = setInterval(() => {}, 60_000);
  const source = openSource(listener.sourceOptions());
  const filters = new Set(options.filters);
  let asking: Timer | undefined;
  const also = (filter: string) => {
    if (filters.has(filter)) return;
    filters.add(filter);
    asking ??= systemClock.timer(ALSO_AFTER_MS, () => {
      asking = undefined;
      source.subscribe([...filters]);
    });
  };
  try {
    for await (const arrivals of source.arrivals(listener.over)) {
      for (const arrival of arrivals) if (arrival.kind === "publish") hear(arrival, also);
      source.acknowledge(arrivals);
    }
  } finally {
    asking?.cancel();
    listener.end();
    clearInterval(awake);
    await source[Symbol.asyncDispose]();
  }
  if (listener.failure) throw listener.failure;
}

class Listener {
  readonly #config: Config;
  readonly #options: ListenOptions;
  readonly #stop = new AbortController();
  readonly over: AbortSignal;
  /** Why there is nothing to listen to. */
  failure: SluiceError | undefined;
  #connected = false;
  #timer: Timer | undefined;
  #listening = false;

  constructor(config: Config, options: ListenOptions) {
    this.#config = config;
    this.#options = options;
    this.over = AbortSignal.any([options.signal, this.#stop.signal]);
  }

  /** The QoS is the gateway's own, so that what is shown is what the gateway gets. */
  sourceOptions(): SourceOptions & Pick<ConnectionOptions, "cleanStart"> {
    return {
      ...brokerOptions(this.#config),
      clientId: `sluice-listen-${crypto.randomUUID().slice(0, 8)}`,
      // MQTT 3.1.1 has no expiry: without this the broker would keep the session for ever.
      cleanStart: true,
      sessionExpirySec: 0,
      filters: this.#options.filters.map((filter) => filter.replace(/^\$share\/[^/]+\//, "")),
      onSubscribed: (granted) => granted.length > 0 && this.#begin(),
      onEvent: (event) => this.#onEvent(event),
    };
  }

  end(): void {
    this.#timer?.cancel();
    this.#stop.abort();
  }

  #begin(): void {
    if (this.#listening) return;
    this.#listening = true;
    const { filters, forMs, say, onListening } = this.#options;
    const { display } = brokerAddress(this.#config.broker.url);
    const more = filters.length - FILTERS_SHOWN;
    const shown = filters.slice(0, FILTERS_SHOWN).join(", ") + (more > 0 ? ` and ${more} more` : "");
    say(`listening to ${shown} on ${display}; Ctrl-C ends`);
    onListening?.();
    if (forMs !== undefined) this.#timer = systemClock.timer(forMs, () => this.#stop.abort());
  }

  #onEvent(event: SourceEvent): void {
    const { say } = this.#options;
    switch (event.kind) {
      case "connected":
        if (this.#connected) say("connected again");
        this.#connected = true;
        break;
      case "refused":
        if (!this.#connected) this.#fail(event.error);
        break;
      case "disconnected":
        say(`${event.error.message}; trying again`);
        break;
      case "subscriptions":
        if (event.refused.length === this.#options.filters.length) {
          this.#fail(
            new SluiceError(`the broker refuses the subscription ${event.refused[0].filter}`, {
              hint: "give this user the right to read it, e.g. in mosquitto's acl_file",
            }),
          );
        } else for (const { filter } of event.refused) say(`the broker refuses the subscription ${filter}`);
    }
  }

  #fail(error: SluiceError): void {
    this.failure = error;
    this.#stop.abort();
  }
}

function brokerOptions({ broker }: Config): BrokerOptions {
  const { password, tls } = broker;
  const pem = (path: string | undefined) => path === undefined ? undefined : () => Deno.readTextFile(path);
  return {
    url: broker.url,
    username: broker.username,
    password: password && (() => password.read()),
    version: broker.version as 4 | 5,
    keepaliveMs: broker.keepalive,
    tls: tls && { ca: pem(tls.ca), cert: pem(tls.cert), key: pem(tls.key), verify: tls.verify },
  };
}

/** The value of `--for` in milliseconds. Throws `UsageError`. */
export function durationOption(value: string | boolean | undefined): number | undefined {
  if (typeof value !== "string") return undefined;
  try {
    return parseDuration(value);
  } catch (error) {
    throw new UsageError(`--for: ${messageOf(error)}`);
  }
}

/** The value of `--topic`; placeholders work too. Throws `UsageError`. */
export function topicOption(value: string | boolean | undefined): string | undefined {
  if (typeof value !== "string") return undefined;
  try {
    return parsePattern(value).filter;
  } catch (error) {
    throw new UsageError(`--topic: ${messageOf(error)}`, {
      hint: "+ stands for one level, # for the rest: --topic 'Home/#'",
    });
  }
}
