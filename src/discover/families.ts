/**
 * How the device families that have a preset are recognised: by what nobody else would call a topic, or by keys that
 * only they send. A family that can live under any prefix is recognised by its payloads alone.
 */
import type { PresetName } from "../route/options.ts";
import type { TopicFacts } from "./observation.ts";

export interface Family {
  readonly preset: PresetName;
  /** For people: "Zigbee2MQTT". */
  readonly title: string;
  /** Where its devices publish unless told otherwise. */
  readonly filters: readonly string[];
  readonly recognises: (facts: TopicFacts) => boolean;
}

const topic = (pattern: RegExp) => ({ topic }: TopicFacts) => pattern.test(topic);
const hasKey = (facts: TopicFacts, ...keys: string[]) =>
  keys.every((key) => facts.paths.has(JSON.stringify([key])));

const ESPHOME_KINDS = [
  "sensor",
  "binary_sensor",
  "text_sensor",
  "switch",
  "light",
  "climate",
  "cover",
  "fan",
  "number",
  "select",
];

export const FAMILIES: readonly Family[] = [
  {
    preset: "zigbee2mqtt",
    title: "Zigbee2MQTT",
    filters: ["zigbee2mqtt/#"],
    recognises: topic(/^zigbee2mqtt\//),
  },
  {
    preset: "tasmota",
    title: "Tasmota",
    filters: ["tele/#", "stat/#"],
    recognises: topic(/^(tele\/[^/]+\/(SENSOR|STATE|LWT)|stat\/[^/]+\/(POWER\d*|RESULT|STATUS\d*))$/),
  },
  {
    preset: "shelly",
    title: "Shelly",
    filters: ["shellies/#", "+/status/+", "+/events/rpc", "+/online"],
    recognises: topic(/^(shellies\/|shelly[^/]*\/(status\/|events\/rpc|online)|[^/]+\/events\/rpc$)/),
  },
  { preset: "sparkplug", title: "Sparkplug B", filters: ["spBv1.0/#"], recognises: topic(/^spBv1\.0\//) },
  { preset: "homie", title: "Homie", filters: ["homie/#"], recognises: topic(/^homie\//) },
  {
    preset: "homeassistant",
    title: "Home Assistant",
    filters: ["homeassistant/#"],
    recognises: topic(/^homeassistant\/.+\/(config|state|attributes)$/),
  },
  { preset: "frigate", title: "Frigate", filters: ["frigate/#"], recognises: topic(/^frigate\//) },
  {
    preset: "rtl_433",
    title: "rtl_433",
    filters: ["rtl_433/#"],
    recognises: (facts) =>
      /^rtl_433\//.test(facts.topic) || (hasKey(facts, "model", "id") && /events$/.test(facts.topic)),
  },
  {
    preset: "openmqttgateway",
    title: "OpenMQTTGateway",
    filters: ["home/#"],
    recognises: topic(/^home\/[^/]+\/(BTtoMQTT|433toMQTT|LORAtoMQTT|SYStoMQTT|IRtoMQTT)(\/|$)/),
  },
  { preset: "victron", title: "Victron", filters: ["N/#"], recognises: topic(/^N\/[0-9a-f]{12}\//) },
  {
    preset: "esphome",
    title: "ESPHome",
    filters: ESPHOME_KINDS.map((kind) => `+/${kind}/+/state`),
    recognises: topic(new RegExp(`^[^/]+/(${ESPHOME_KINDS.join("|")})/[^/]+/state$`)),
  },
];

/** The first family that knows the topic. */
export function familyOf(facts: TopicFacts): Family | undefined {
  return FAMILIES.find((family) => family.recognises(facts));
}
