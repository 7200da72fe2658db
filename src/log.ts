/**
 * Logging: LogTape to standard error, as text on a terminal, with journald's priorities under systemd, as JSON lines else.
 */
import { configure, type LogRecord, type Sink } from "@logtape/logtape";
import { styleText } from "node:util";

export interface LogOptions {
  readonly level: string;
  readonly format: string;
}

/** syslog(3) priorities, which journald reads from `<N>` at the beginning of a line (sd-daemon(3)). */
const PRIORITY: Readonly<Record<string, number>> = {
  trace: 7,
  debug: 7,
  info: 6,
  warning: 4,
  error: 3,
  fatal: 2,
};
const COLOUR = {
  trace: "gray",
  debug: "gray",
  info: "green",
  warning: "yellow",
  error: "red",
  fatal: "red",
} as const;

export async function setUpLog({ level, format }: LogOptions): Promise<void> {
  await configure({
    reset: true,
    sinks: { stderr: sink(formatter(format)) },
    loggers: [
      { category: ["sluice"], sinks: ["stderr"], lowestLevel: level as "info" },
      { category: ["logtape", "meta"], sinks: ["stderr"], lowestLevel: "error" },
    ],
  });
}

function formatter(format: string): (record: LogRecord) => string {
  if (format === "auto" && Deno.env.get("JOURNAL_STREAM")) {
    return (record) => `<${PRIORITY[record.level]}>${plain(record)}\n`;
  }
  if (format === "text" || (format === "auto" && Deno.stderr.isTerminal())) {
    const colour = Deno.stderr.isTerminal() && !Deno.env.get("NO_COLOR");
    return (record) => {
      const time = new Date(record.timestamp).toTimeString().slice(0, 8);
      const name = record.level.padEnd(7);
      return `${time} ${colour ? styleText(COLOUR[record.level], name, { validateStream: false }) : name} ${
        plain(record)
      }\n`;
    };
  }
  return jsonLine;
}

/** One object a line. The message is as people read it; LogTape's own formatter would quote the values in it. */
function jsonLine(record: LogRecord): string {
  const { timestamp, level, category, properties: { line: _line, ...properties } } = record;
  const time = new Date(timestamp).toISOString();
  return JSON.stringify({ time, level, logger: category.join("."), message: plain(record), ...properties }) +
    "\n";
}

const plain = (record: LogRecord) =>
  record.message.map((part) => typeof part === "string" ? part : String(part)).join("").replaceAll("\n", " ");

function sink(format: (record: LogRecord) => string): Sink {
  const encoder = new TextEncoder();
  return (record) => {
    try {
      Deno.stderr.writeSync(encoder.encode(format(record)));
    } catch {
      // Nobody reads it any more.
    }
  };
}
