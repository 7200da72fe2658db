/**
 * `sluice explain`: the route that takes a message, the row, the SQL and its values; or why not. Without a message: the
 * routes, with what presets stand for. Talks to nobody.
 */
import { systemClock } from "../clock.ts";
import { fileFault } from "../config/file_fault.ts";
import { loadConfig, type LoadedConfig } from "../config/load.ts";
import { UsageError } from "../errors.ts";
import type { Message } from "../message.ts";
import { type Command, CONFIG_OPTION, type Io, JSON_OPTION } from "./command.ts";
import {
  type Explained,
  Explainer,
  explainerOf,
  formatExplained,
  jsonOf,
  type Outcome,
} from "./explanation.ts";
import { harmless } from "./messages.ts";
import { readMessages } from "./message_lines.ts";
import { routeList } from "./route_list.ts";

export const explain: Command = {
  name: "explain",
  usage: "-c FILE [TOPIC PAYLOAD | --file MESSAGES.jsonl]",
  summary: "the route that takes a message, the row, the SQL and its values; or why not",
  options: {
    config: CONFIG_OPTION,
    file: {
      type: "string",
      value: "FILE",
      summary: "many messages, a JSON object in each line; - for stdin",
    },
    retained: { type: "boolean", summary: "the message is a retained one" },
    json: JSON_OPTION,
  },
  positionals: [0, 2],
  notes: [
    "Without a message it lists the routes, with what presets stand for.",
    'Lines of --file: { "topic", "payload" or "payload_base64" }; also "retain", "qos" and "received_at", so that what',
    "`sluice dead list --json` and `sluice spool export` print can be tried.",
    "--json: { topic, route, rows: [{ table, columns }], sql, values, reason }, one for each route that takes it.",
    "Exit codes: 0 all is stored, or a file was read to its end; 1 the message makes no row, or lines of the file are no",
    "messages; 78 the configuration is wrong.",
  ],
  async run({ values, positionals }, io) {
    if (typeof values.config !== "string") throw new UsageError("explain needs a configuration: -c FILE");
    const { file } = values;
    if (positionals.length === 1) throw new UsageError("usage: sluice explain -c FILE TOPIC PAYLOAD");
    if (typeof file === "string" && positionals.length > 0) {
      throw new UsageError("explain takes a message or --file, not both");
    }
    const loaded = await loadConfig(values.config);
    const say = (it: Explained) => io.out(values.json ? jsonOf(it) : formatExplained(it, loaded) + "\n");
    if (typeof file === "string") return await explainFile(file, loaded, say, io);
    if (positionals.length === 0) {
      for (const line of routeList(loaded, values.json === true)) io.out(line);
      return 0;
    }
    const message = messageFrom(positionals, values.retained === true);
    const explained = explainerOf(loaded).explain(message);
    explained.forEach(say);
    return explained.every(({ reason }) => reason === null) ? 0 : 1;
  },
};

function messageFrom([topic, payload]: readonly string[], retain: boolean): Message {
  if (topic === "" || /[+#\0]/.test(topic)) {
    throw new UsageError(
      `"${harmless(topic)}" is no topic that a message can have: + and # are for subscriptions`,
    );
  }
  return {
    topic,
    payload: new TextEncoder().encode(payload),
    qos: 1,
    retain,
    receivedAtMs: systemClock.wallMs(),
  };
}

async function explainFile(
  path: string,
  loaded: LoadedConfig,
  say: (it: Explained) => void,
  io: Io,
): Promise<number> {
  const explainer: Explainer = explainerOf(loaded);
  const counts: Record<Outcome, number> = { stored: 0, dead: 0, filtered: 0, unrouted: 0 };
  let wrong = 0;
  try {
    for await (const read of readMessages(path)) {
      if ("fault" in read) {
        wrong++;
        io.err(`${path}:${read.line}: no message: ${read.fault}`);
        continue;
      }
      for (const it of explainer.explain(read.message)) {
        counts[it.outcome]++;
        say(it);
      }
      if (io.signal.aborted) break;
    }
  } catch (error) {
    if (error instanceof Deno.errors.BrokenPipe) return 0;
    if (error instanceof UsageError) throw error;
    throw new UsageError(`--file: ${path} cannot be read: ${fileFault(error)}`, { cause: error });
  }
  const words: [number, string][] = [
    [counts.stored, "stored"],
    [counts.dead, "dead letters"],
    [counts.filtered, "left out"],
    [counts.unrouted, "without a route"],
    [wrong, "lines that are no messages"],
  ];
  io.err(words.filter(([n], i) => i === 0 || n > 0).map(([n, word]) => `${n} ${word}`).join(", "));
  return wrong > 0 ? 1 : 0;
}
