/**
 * What a route is told. The configuration's schema produces exactly this, with durations in milliseconds.
 */
import type { OnDuplicateKey } from "../message.ts";

export const DECODERS = [
  "json",
  "number",
  "text",
  "bytes",
  "cbor",
  "msgpack",
  "sparkplug",
  "csv",
  "auto",
] as const;
export type DecoderName = typeof DECODERS[number];

export const PRESETS = [
  "zigbee2mqtt",
  "tasmota",
  "shelly",
  "esphome",
  "homie",
  "homeassistant",
  "sparkplug",
  "frigate",
  "rtl_433",
  "openmqttgateway",
  "victron",
  "plain",
] as const;
export type PresetName = typeof PRESETS[number];

/** How a payload writes a time. `local` needs `zone`. All are stored as UTC. */
export const TIME_KINDS = ["iso", "local", "epoch_s", "epoch_ms", "epoch_us", "epoch_ns"] as const;
export type TimeKind = typeof TIME_KINDS[number];

export interface ColumnOptions {
  /** `@name`, `{level}`, a path `$...`, or an expression `= ...` in CEL. */
  readonly value: string;
  /** SQL type, e.g. `double`, `varchar(40)`, `datetime(3)`. */
  readonly type?: string;
  /** What to do with a value that does not fit. @default "reject" */
  readonly onError?: "reject" | "null" | "truncate";
  /** Unit of the value, for the comment of a table that is made. */
  readonly unit?: string;
  readonly time?: TimeKind;
  /** IANA zone for `time: "local"`, e.g. `Europe/Berlin`. @default "UTC" */
  readonly zone?: string;
}

export interface KeepOptions {
  /** Columns; a row is kept when one of them differs from the last kept row of the same topic (and `each` key). */
  readonly onChange?: readonly string[];
  /** Column to the smallest difference that counts as a change. */
  readonly deadband?: Readonly<Record<string, number>>;
  readonly minIntervalMs?: number;
  readonly maxIntervalMs?: number;
  /** Columns that tell the rows apart which are compared. @default the topic and the `each` key */
  readonly by?: readonly string[];
}

/** `wide`: a column for each value. `narrow`: a row (name, value) for each value. `json`: the payload as JSON. `latest`: one row for each topic, overwritten. */
export const LAYOUTS = ["wide", "narrow", "json", "latest"] as const;
export type Layout = typeof LAYOUTS[number];

export interface RouteOptions {
  /** Pattern of the topic. With `preset` what the preset's topics begin with. Needed unless `preset` gives it. */
  readonly topic?: string;
  readonly preset?: PresetName;
  /** The preset that a route was made from; never written by people. */
  readonly family?: PresetName;
  /** Target table, may use `{level}`. Needed unless `preset` gives it. */
  readonly table?: string;
  /** @default "auto" */
  readonly decode?: DecoderName;
  readonly columns?: Readonly<Record<string, string | ColumnOptions>>;
  readonly each?: string;
  readonly when?: string;
  readonly keep?: KeepOptions;
  /** @default "store" */
  readonly retained?: "store" | "skip";
  /** @default "error" */
  readonly onDuplicateKey?: OnDuplicateKey;
  /** Columns of the primary key of a table that the gateway makes. @default none: an `id` of its own */
  readonly key?: readonly string[];
  /** @default "wide" */
  readonly layout?: Layout;
  /** Rows older than this are removed. */
  readonly retentionMs?: number;
  /** Keep hourly minimum, mean, maximum and count in `<table>_hourly`, for each series; `by` names the columns that tell series apart. @default false */
  readonly hourly?: boolean | { readonly by: readonly string[] };
}
