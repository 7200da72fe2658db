/**
 * A source for a test: short waits, and everything it tells is kept.
 */
import { openSource } from "../../src/mqtt/source.ts";
import type { MqttSource, SourceEvent, SourceOptions } from "../../src/mqtt/source.ts";
import { waitFor } from "../servers/wait_for.ts";

export interface OpenedSource extends AsyncDisposable {
  readonly source: MqttSource;
  readonly events: SourceEvent[];
  /** What `onSubscribed` was told, in order. */
  readonly subscribed: string[][];
  /** Waits for the first event of this kind, counted from `from`. */
  event<K extends SourceEvent["kind"]>(kind: K, from?: number): Promise<Extract<SourceEvent, { kind: K }>>;
  /** Waits until it is connected and the broker has granted every filter. */
  ready(): Promise<void>;
}

export function openTestSource(url: string, options: Partial<SourceOptions> = {}): OpenedSource {
  const events: SourceEvent[] = [];
  const subscribed: string[][] = [];
  const filters = options.filters ?? ["#"];
  const source = openSource({
    url,
    clientId: "gateway",
    filters,
    lingerMs: 0,
    onEvent: (event) => events.push(event),
    onSubscribed: (held) => subscribed.push([...held]),
    // The shortest waits that the back-off gives.
    random: () => 0,
    ...options,
  });
  return {
    source,
    events,
    subscribed,
    event: async (kind, from = 0) =>
      await waitFor(
        () => events.slice(from).find((event) => event.kind === kind) as never,
        { what: `the event ${kind}; told was ${Deno.inspect(events)}` },
      ),
    ready: async () => {
      await waitFor(() => {
        const { connected, subscriptions } = source.stats;
        return connected && filters.every((filter) => subscriptions[filter] !== undefined);
      }, { what: `the subscriptions ${filters}` });
    },
    [Symbol.asyncDispose]: () => source[Symbol.asyncDispose](),
  };
}
