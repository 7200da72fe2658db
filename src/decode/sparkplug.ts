/**
 * Sparkplug B: `{ timestamp, seq, metrics: { name: value }, list: [{ name, type, value, timestamp, ... }] }`.
 *
 * `metrics` is for paths to known names (the last value counts where a name comes twice), `list` for `each`. An entry
 * of `list` has also `alias`, `historical`, `transient`, `properties` and `metadata` where the metric has them. Times
 * are epoch milliseconds. `uuid` and `body` are there where the message has them. See `sparkplug_value.ts` for values.
 *
 * Names behind aliases, and data types, which data messages leave out, are remembered from the births (NBIRTH, DBIRTH)
 * that the same route has seen: its topic has to take them in too, as `spBv1.0/{group}/{type}/{rest...}` does. An
 * alias that no birth has announced is the name `alias:7`. STATE messages are no Sparkplug payloads and are read like
 * `auto`.
 */
import { decodeAuto } from "./auto.ts";
import type { Context } from "./context.ts";
import { exact, own, plain, type PlainObject } from "./plain.ts";
import { type Metric, readMessage, type SparkplugMessage } from "./sparkplug_message.ts";
import { propertiesOf, TYPES, valueOf } from "./sparkplug_value.ts";
import { UnreadableError } from "./unreadable_error.ts";

/** What a birth has announced. */
interface Birth {
  readonly names: ReadonlyMap<string, string>;
  readonly types: ReadonlyMap<string, number>;
}

/** Where a message comes from: births of these senders apply to it, its own first. */
interface Sender {
  readonly kind: string;
  readonly keys: readonly string[];
}

export function decodeSparkplug(payload: Uint8Array, context?: Context): unknown {
  const sender = senderOf(context?.topic ?? "");
  if (sender.kind === "STATE") return decodeAuto(payload);
  const message = readMessage(payload);
  if (message.timestamp === undefined && message.metrics.length === 0 && message.body === undefined) {
    throw new UnreadableError("not Sparkplug B: it has neither a timestamp nor metrics nor a body");
  }
  const births = sender.keys.flatMap((key) => {
    const text = context!.memory.get(key);
    return text === undefined ? [] : [birthOf(text)];
  });
  const isBirth = sender.kind === "NBIRTH" || sender.kind === "DBIRTH";
  const value = plainMessage(message, isBirth ? [] : births);
  if (isBirth) context!.memory.set(sender.keys[0]!, announced(message));
  return value;
}

/** `spBv1.0/group/DDATA/node/device`; a bridge may have put levels before it. */
function senderOf(topic: string): Sender {
  const levels = topic.split("/");
  const [, group, kind, node, ...device] = levels.slice(Math.max(levels.indexOf("spBv1.0"), 0));
  if (group === "STATE" || levels[0] === "STATE") return { kind: "STATE", keys: [] };
  if (node === undefined) return { kind: "", keys: [] };
  const key = `sparkplug/${group}/${node}`;
  return { kind: kind!, keys: device.length === 0 ? [key] : [`${key}/${device.join("/")}`, key] };
}

function plainMessage(message: SparkplugMessage, births: readonly Birth[]): PlainObject {
  const timestamp = optional(message.timestamp);
  const metrics: PlainObject = {};
  const list = message.metrics.map((metric, i) => {
    const entry = plainMetric(metric, i, births);
    own(metrics, entry.name, entry.value);
    return { ...entry, timestamp: optional(metric.timestamp) ?? timestamp };
  });
  return {
    timestamp,
    seq: optional(message.seq),
    ...(message.uuid !== undefined && { uuid: message.uuid }),
    ...(message.body !== undefined && { body: plain(message.body) }),
    metrics,
    list,
  };
}

function plainMetric(metric: Metric, i: number, births: readonly Birth[]) {
  const name = nameOf(metric, births);
  if (name === undefined) {
    throw new UnreadableError(`not Sparkplug B: metric ${i + 1} has neither a name nor an alias`);
  }
  const datatype = metric.datatype ??
    births.map(({ types }) => types.get(name)).find((it) => it !== undefined);
  try {
    return {
      name,
      type: TYPES[datatype ?? 0] ?? "Unknown",
      value: valueOf(metric, datatype),
      ...(metric.alias !== undefined && { alias: exact(metric.alias) }),
      ...(metric.isHistorical && { historical: true }),
      ...(metric.isTransient && { transient: true }),
      ...(metric.properties && { properties: propertiesOf(metric.properties) }),
      ...(metric.metadata && { metadata: metadataOf(metric.metadata) }),
    };
  } catch (error) {
    throw new UnreadableError(`not Sparkplug B: metric "${name.slice(0, 80)}": ${(error as Error).message}`);
  }
}

function nameOf({ name, alias }: Metric, births: readonly Birth[]): string | undefined {
  if (alias === undefined || name) return name;
  return births.map(({ names }) => names.get(String(alias))).find((it) => it !== undefined) ??
    `alias:${alias}`;
}

function metadataOf(metadata: Readonly<Record<string, unknown>>): PlainObject {
  return Object.fromEntries(
    Object.entries(metadata).map(([key, value]) => [key, typeof value === "bigint" ? exact(value) : value]),
  );
}

function optional(value: bigint | undefined): number | bigint | null {
  return value === undefined ? null : exact(value);
}

type Announcement = readonly [name: string, datatype: number, alias?: string];

/** A birth as the text that is remembered. */
function announced({ metrics }: SparkplugMessage): string {
  return JSON.stringify(metrics.flatMap(({ name, datatype, alias }): Announcement[] => {
    if (!name) return [];
    return [alias === undefined ? [name, datatype ?? 0] : [name, datatype ?? 0, String(alias)]];
  }));
}

/** Births that were read lately, by their text: reading a large one for every message would cost more than the message. */
const recent = new Map<string, Birth>();
const RECENT_MAX = 100;

function birthOf(text: string): Birth {
  let birth = recent.get(text);
  if (!birth) {
    const list = JSON.parse(text) as Announcement[];
    birth = {
      names: new Map(list.flatMap(([name, , alias]) => alias === undefined ? [] : [[alias, name] as const])),
      types: new Map(list.map(([name, datatype]) => [name, datatype])),
    };
    if (recent.size >= RECENT_MAX) recent.clear();
    recent.set(text, birth);
  }
  return birth;
}
