/**
 * `sluice explain`: the route that takes a message, the row, the SQL and its values; or why not. Without a message: the
 * routes, with what presets stand for. Talks to nobody.
 */
import { loadConfig } from "../config/load.ts";
import { routeText } from "../discover/route_text.ts";
import { messageOf, UsageError } from "../errors.ts";
import type { Message } from "../message.ts";
import { createRouter, PRESET } from "../route/mod.ts";
import type { PresetName, RouteOptions } from "../route/options.ts";
import { formatDuration } from "../units.ts";
import { type Command, CONFIG_OPTION, JSON_OPTION } from "./command.ts";
import { explainMessage, formatExplanation } from "./explanation.ts";

export const explain: Command = {
  name: "explain",
  usage: "-c FILE [TOPIC PAYLOAD | --file MESSAGES.jsonl]",
  summary:
    "the route that takes a message, the row, the SQL and its values; or why not; without a message: all routes",
  options: {
    config: CONFIG_OPTION,
    json: JSON_OPTION,
    file: { type: "string", value: "FILE", summary: 'lines { "topic", "payload" or "payload_base64" }' },
  },
  positionals: [0, 2],
  async run({ values, positionals }, io) {
    if (typeof values.config !== "string") throw new UsageError("explain needs a configuration: -c FILE");
    if (positionals.length === 1) throw new UsageError("usage: sluice explain -c FILE TOPIC PAYLOAD");
    const { config } = await loadConfig(values.config);
    if (typeof values.file !== "string" && positionals.length === 0) {
      for (
        const line of values.json ? config.routes.map((it) => JSON.stringify(it)) : routeLines(config.routes)
      ) {
        io.out(line);
      }
      return 0;
    }
    const router = createRouter({ routes: config.routes, gateway: config.name });
    const messages = typeof values.file === "string"
      ? readMessages(await readFile(values.file), values.file)
      : [messageFrom(positionals[0], new TextEncoder().encode(positionals[1]))];
    let unstored = 0;
    for (const message of messages) {
      for (const it of explainMessage(router, message)) {
        if (it.reason !== null) unstored++;
        io.out(values.json ? JSON.stringify(it) : formatExplanation(it) + "\n");
      }
    }
    return unstored > 0 && typeof values.file !== "string" ? 1 : 0;
  },
};

/** The routes as one could write them instead of the presets, each preset with what it says of itself. */
function routeLines(routes: readonly RouteOptions[]): string[] {
  let before: PresetName | undefined;
  return routes.flatMap(({ family, ...route }) => {
    const { title, notes } = family && family !== before ? PRESET[family] : { title: "", notes: [] };
    before = family;
    const comments = title ? [`// ${family}: ${title}`, ...notes.map((it) => `// ${it}`)] : [];
    return [...comments, `${routeText(asWritten(route))}\n`];
  });
}

/** Durations as a configuration writes them. */
function asWritten({ keep, retentionMs, ...route }: RouteOptions): RouteOptions {
  const { minIntervalMs, maxIntervalMs, ...watched } = keep ?? {};
  const duration = (name: string, ms?: number) => ms === undefined ? {} : { [name]: formatDuration(ms) };
  const written = {
    ...watched,
    ...duration("minInterval", minIntervalMs),
    ...duration("maxInterval", maxIntervalMs),
  };
  return { ...route, ...(keep && { keep: written }), ...duration("retention", retentionMs) };
}

const messageFrom = (topic: string, payload: Uint8Array): Message => ({
  topic,
  payload,
  qos: 1,
  retain: false,
  receivedAtMs: 0,
});

async function readFile(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    throw new UsageError(`--file: ${path} cannot be read: ${messageOf(error)}`);
  }
}

function readMessages(text: string, path: string): Message[] {
  return text.split("\n").flatMap((line, i) => {
    if (line.trim() === "") return [];
    try {
      const { topic, payload, payload_base64 } = JSON.parse(line);
      if (typeof topic !== "string") throw new Error('"topic" is missing');
      if (typeof payload_base64 === "string") {
        return [messageFrom(topic, Uint8Array.fromBase64(payload_base64))];
      }
      return [
        messageFrom(
          topic,
          new TextEncoder().encode(typeof payload === "string" ? payload : JSON.stringify(payload)),
        ),
      ];
    } catch (error) {
      throw new UsageError(`${path}:${i + 1} is no message: ${messageOf(error)}`);
    }
  });
}
