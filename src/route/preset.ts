/**
 * Presets: one line of a configuration that stands for the routes of a device family.
 *
 * A preset is data: `presets/<name>.json`. In its topics `~` stands for what the family's topics begin with, which the
 * person may replace through "topic", and in its tables for the person's "table". What the person says of rows
 * (columns, when, keep, ...) is added to the routes to that very table, or replaces what the preset says there; "when"
 * narrows. Nothing here checks anything: that is `validate.ts`.
 */
import { SERIES } from "./design.ts";
import type { PresetName, RouteOptions } from "./options.ts";
import esphome from "./presets/esphome.json" with { type: "json" };
import frigate from "./presets/frigate.json" with { type: "json" };
import homeassistant from "./presets/homeassistant.json" with { type: "json" };
import homie from "./presets/homie.json" with { type: "json" };
import openmqttgateway from "./presets/openmqttgateway.json" with { type: "json" };
import plain from "./presets/plain.json" with { type: "json" };
import rtl_433 from "./presets/rtl_433.json" with { type: "json" };
import shelly from "./presets/shelly.json" with { type: "json" };
import sparkplug from "./presets/sparkplug.json" with { type: "json" };
import tasmota from "./presets/tasmota.json" with { type: "json" };
import victron from "./presets/victron.json" with { type: "json" };
import zigbee2mqtt from "./presets/zigbee2mqtt.json" with { type: "json" };

export interface Preset {
  /** For people: "Zigbee2MQTT". */
  readonly title: string;
  /** What `~` stands for in topics, unless the person says otherwise. */
  readonly topic: string;
  /** What `~` stands for in tables, unless the person says otherwise. */
  readonly table: string;
  /** What to know of it, and what it leaves out and why. */
  readonly notes: readonly string[];
  /** Of all routes to the table `~`. */
  readonly columns: NonNullable<RouteOptions["columns"]>;
  readonly routes: readonly PresetRoute[];
}

interface PresetRoute extends RouteOptions {
  readonly topic: string;
  /** @default "~" */
  readonly table?: string;
  /** What else to replace in the topic: `%prefix%` of Tasmota. */
  readonly fill?: Readonly<Record<string, string>>;
}

export const PRESET = {
  esphome,
  frigate,
  homeassistant,
  homie,
  openmqttgateway,
  plain,
  rtl_433,
  shelly,
  sparkplug,
  tasmota,
  victron,
  zigbee2mqtt,
} as unknown as Readonly<Record<PresetName, Preset>>;

/** The ordinary routes that a route stands for; itself where it has no preset. */
export function expandPreset(route: RouteOptions): RouteOptions[] {
  if (route.preset === undefined) return [route];
  const preset = PRESET[route.preset];
  const start = (route.topic ?? preset.topic).replace(/\/$/, "");
  return preset.routes.map(({ topic, table = "~", fill = {}, ...given }) => ({
    family: route.preset,
    topic: Object.entries(fill).reduce(
      (text, [it, by]) => text.replaceAll(it, by),
      topic.replace("~", start),
    ),
    table: table.replace("~", route.table ?? preset.table),
    ...(table === "~" ? withOwn(given, preset.columns, route) : beside(given, route)),
  }));
}

/** A route to the person's table, with all that the person says. */
function withOwn(given: RouteOptions, shared: Preset["columns"], own: RouteOptions): RouteOptions {
  const { preset: _preset, topic: _topic, table: _table, layout, columns, when, keep, ...rest } = own;
  return {
    ...given,
    ...rest,
    ...(when !== undefined && { when: given.when === undefined ? when : `(${given.when}) && (${when})` }),
    columns: { ...shared, ...given.columns, ...columns },
    ...(keep && { keep: { by: SERIES, ...keep } }),
    ...(layout === "latest" && { key: SERIES, onDuplicateKey: "update" as const }),
  };
}

/** A route to a table of its own, where the person's columns and conditions would mean nothing. */
function beside(given: RouteOptions, { retained, retentionMs }: RouteOptions): RouteOptions {
  return {
    ...given,
    ...(retained !== undefined && { retained }),
    ...(retentionMs !== undefined && { retentionMs }),
  };
}
