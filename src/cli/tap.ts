/**
 * `sluice tap`: what the routes make of the messages that come, as they come; the live `explain`. Stores nothing and
 * does not disturb the gateway.
 */
import { loadConfig } from "../config/load.ts";
import { ConfigurationError, UsageError } from "../errors.ts";
import type { Message } from "../message.ts";
import { type Command, CONFIG_OPTION, JSON_OPTION } from "./command.ts";
import { explainerOf, formatExplained, jsonOf } from "./explanation.ts";
import { durationOption, FOR_OPTION, listen, TOPIC_OPTION, topicOption } from "./listen.ts";

export const tap: Command = {
  name: "tap",
  usage: "-c FILE [--json] [--for 30s] [--topic FILTER]",
  summary: "what the routes make of the messages that come, live; stores nothing",
  options: {
    config: CONFIG_OPTION,
    json: JSON_OPTION,
    for: { ...FOR_OPTION, summary: "end by itself; default: with Ctrl-C" },
    topic: { ...TOPIC_OPTION, summary: "listen to this instead of what the routes subscribe to" },
  },
  notes: [
    "It comes to the broker under a name of its own and leaves the gateway's session alone. --json: as `sluice explain`.",
  ],
  async run({ values }, io) {
    if (typeof values.config !== "string") throw new UsageError("tap needs a configuration: -c FILE");
    const forMs = durationOption(values.for);
    const topic = topicOption(values.topic);
    const loaded = await loadConfig(values.config);
    const explainer = explainerOf(loaded);
    const filters = topic === undefined ? explainer.filters : [topic];
    if (filters.length === 0) {
      throw new ConfigurationError(`there is nothing to listen to: "routes" in ${values.config} is empty`, {
        hint: "--topic '#' listens to everything",
      });
    }
    const count = { messages: 0, unstored: 0 };
    const hear = (message: Message) => {
      count.messages++;
      const explained = explainer.explain(message);
      if (explained.some(({ reason }) => reason !== null)) count.unstored++;
      for (const it of explained) io.out(values.json ? jsonOf(it) : formatExplained(it, loaded) + "\n");
    };
    try {
      await listen(loaded.config, { filters, forMs, signal: io.signal, say: io.err }, hear);
    } catch (error) {
      // Whoever read along has seen enough: `sluice tap | head`.
      if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
    }
    const unstored = count.unstored > 0 ? `, ${count.unstored} of them make no row` : "";
    io.err(`heard ${count.messages === 1 ? "1 message" : `${count.messages} messages`}${unstored}`);
    return 0;
  },
};
