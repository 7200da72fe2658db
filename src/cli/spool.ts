/**
 * `sluice spool`: what the spool holds, and the messages that wait in it as JSON lines. Reads the file only: it needs
 * no gateway and does not disturb one.
 */
import { loadConfig } from "../config/load.ts";
import { UsageError } from "../errors.ts";
import { type SpoolPicture, SpoolReader } from "../spool/reader.ts";
import { formatSize } from "../units.ts";
import { type Command, CONFIG_OPTION, type Io, JSON_OPTION } from "./command.ts";
import { isoTime, messageFields, printLines } from "./messages.ts";

export const spool: Command = {
  name: "spool",
  usage: "status|export -c FILE [--table TABLE]",
  summary: "the spool: how much waits, and the waiting messages as JSON lines",
  options: {
    config: CONFIG_OPTION,
    table: { type: "string", value: "TABLE", summary: "export: only what waits for this table" },
    json: JSON_OPTION,
  },
  notes: [
    "export: { sequence, received_at, topic, payload or payload_base64, qos, retain, route, table }, one object a line.",
    "Reads the file only: works beside a gateway that runs, and without one.",
  ],
  actions: ["status", "export"],
  positionals: [1, 1],
  async run({ values, positionals: [action] }, io) {
    if (action !== "status" && action !== "export") {
      throw new UsageError(`spool: there is no "${action}"`, { hint: "there are status and export" });
    }
    if (typeof values.config !== "string") throw new UsageError(`spool ${action} needs -c FILE`);
    const { path, maxSize } = (await loadConfig(values.config)).config.spool;
    using reader = new SpoolReader(path);
    if (action === "export") return await exportWaiting(reader, values.table as string | undefined, io);
    const picture = reader.picture();
    io.out(values.json ? JSON.stringify(fieldsOf(path, maxSize, picture)) : pageOf(path, maxSize, picture));
    return 0;
  },
};

/** Exit code 1 where something is too damaged to be exported. */
async function exportWaiting(reader: SpoolReader, table: string | undefined, io: Io): Promise<number> {
  let code = 0;
  const onDamage = (sentence: string) => {
    code = 1;
    io.err(`${sentence}: left out`);
  };
  const lines = reader.waiting(table, onDamage).map((message) => {
    const { sequence, retain, route, lane } = message;
    return JSON.stringify({ sequence, ...messageFields(message), retain, route, table: lane });
  });
  await printLines(lines, io);
  return io.signal.aborted ? 1 : code;
}

const timeOrNull = (ms: number | null) => ms === null ? null : isoTime(ms);

function oldestOf({ lanes }: SpoolPicture): number | null {
  const times = lanes.flatMap((it) => it.oldestReceivedAtMs ?? []);
  return times.length === 0 ? null : Math.min(...times);
}

function fieldsOf(path: string, bytesMax: number, it: SpoolPicture) {
  return {
    path,
    identity: it.identity,
    bytes: it.bytes,
    max_bytes: bytesMax,
    wal_bytes: it.walBytes,
    entries: it.lanes.reduce((sum, { waiting }) => sum + waiting, 0),
    oldest: timeOrNull(oldestOf(it)),
    dead_letters: it.deadLetters,
    dead_letters_dropped: it.lettersDropped,
    lanes: Object.fromEntries(
      it.lanes.map(({ name, waiting, oldestReceivedAtMs }) => [name, {
        entries: waiting,
        oldest: timeOrNull(oldestReceivedAtMs),
      }]),
    ),
    totals: it.totals,
  };
}

function pageOf(path: string, bytesMax: number, picture: SpoolPicture): string {
  const { entries } = fieldsOf(path, bytesMax, picture);
  const oldest = oldestOf(picture);
  const since = (ms: number | null) => ms === null ? "" : `, the oldest from ${isoTime(ms)}`;
  const waiting = picture.lanes.filter((it) => it.waiting > 0);
  const dropped = picture.lettersDropped;
  return [
    `spool     ${path}`,
    `identity  ${picture.identity}`,
    `size      ${formatSize(picture.bytes)} of ${formatSize(bytesMax)}, write-ahead log ${
      formatSize(picture.walBytes)
    }`,
    `waiting   ${entries} message${entries === 1 ? "" : "s"}${since(oldest)}`,
    ...waiting.map((it) => `  ${it.name}: ${it.waiting}${since(it.oldestReceivedAtMs)}`),
    `dead      ${picture.deadLetters} letter${picture.deadLetters === 1 ? "" : "s"}${
      dropped > 0 ? `; ${dropped} older ones were dropped because there were too many` : ""
    }`,
  ].join("\n");
}
