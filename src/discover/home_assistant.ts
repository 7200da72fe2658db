/**
 * What Home Assistant's discovery messages say about other topics: for almost any device a retained message names its
 * state topic, the field in it and the unit. Only templates of the form `{{ value_json.x }}` can be read.
 *
 * https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery
 */
import type { Message } from "../message.ts";

export interface Announced {
  readonly stateTopic: string;
  /** Keys of the field in the payload; empty: the payload itself. */
  readonly path: readonly string[];
  readonly unit: string | undefined;
  readonly deviceClass: string | undefined;
  readonly name: string | undefined;
}

const TEMPLATE =
  /^\{\{\s*value_json((?:\.[A-Za-z_]\w*|\[\s*'[^']+'\s*\]|\[\s*"[^"]+"\s*\])+)\s*(?:\|[^}]*)?\}\}$/;
const STEP = /\.([A-Za-z_]\w*)|\[\s*'([^']+)'\s*\]|\[\s*"([^"]+)"\s*\]/g;

export function isDiscovery(topic: string): boolean {
  return /^homeassistant\/.+\/config$/.test(topic);
}

/** A message announces one thing, or, for a whole device, several: more than any device has are not looked at. */
const COMPONENTS_MAX = 200;

/** What one discovery message announces; nothing where there is nothing that can be read. */
export function readDiscovery(message: Message): Announced[] {
  let config: unknown;
  try {
    config = JSON.parse(new TextDecoder().decode(message.payload));
  } catch {
    return [];
  }
  if (!isObject(config)) return [];
  const components = config.components ?? config.cmps;
  if (!isObject(components)) return announced(config);
  // What is said of the device is said of each of its components.
  return Object.values(components).slice(0, COMPONENTS_MAX)
    .flatMap((it) => isObject(it) ? announced({ ...config, ...it }) : []);
}

const isObject = (it: unknown): it is Readonly<Record<string, unknown>> =>
  it !== null && typeof it === "object" && !Array.isArray(it);

function announced(config: Readonly<Record<string, unknown>>): Announced[] {
  const text = (long: string, short: string) => {
    const value = config[long] ?? config[short];
    return typeof value === "string" ? value : undefined;
  };
  const root = typeof config["~"] === "string" ? config["~"] : "";
  // A function, because $ means something in a replacement.
  const stateTopic = text("state_topic", "stat_t")?.replace(/^~|~$/, () => root);
  if (!stateTopic || /[+#\0]/.test(stateTopic)) return [];
  const template = text("value_template", "val_tpl")?.trim();
  const path = template === undefined ? [] : readTemplate(template);
  if (path === null) return [];
  return [{
    stateTopic,
    path,
    unit: text("unit_of_measurement", "unit_of_meas"),
    deviceClass: text("device_class", "dev_cla"),
    name: text("name", "name"),
  }];
}

function readTemplate(template: string): string[] | null {
  if (/^\{\{\s*value\s*\}\}$/.test(template)) return [];
  const steps = TEMPLATE.exec(template)?.[1];
  if (!steps) return null;
  return [...steps.matchAll(STEP)].map((step) => step[1] ?? step[2] ?? step[3]);
}
