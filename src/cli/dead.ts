/**
 * `sluice dead`: lists and shows dead letters, sends them on their way again, drops them.
 *
 * Listing reads the spool's file and needs no gateway. Replaying and dropping is done by the gateway where one runs,
 * through its own routes, and by the command itself, through the routes of its configuration, where none runs.
 */
import { loadConfig, type LoadedConfig } from "../config/load.ts";
import { messageOf, SluiceError, UsageError } from "../errors.ts";
import { routerOf } from "../gateway/parts.ts";
import { matchPattern, parsePattern } from "../route/pattern.ts";
import { type Letter, SpoolReader } from "../spool/reader.ts";
import { askGateway, isInUse, type LetterAnswer, type LetterOrder } from "../spool/requests.ts";
import { openSpool } from "../spool/spool.ts";
import { type Arguments, type Command, CONFIG_OPTION, type Io, JSON_OPTION } from "./command.ts";
import { harmless, isoTime, messageFields, payloadText, printLines } from "./messages.ts";

/** Letters that are asked for at a time: few enough to be done well before the command stops waiting. */
const ORDER_MAX = 1_000;
/** Letters whose reason to stay is told one by one. */
const TOLD_MAX = 20;

type Values = Arguments["values"];
type Action = (it: { loaded: LoadedConfig; ids: number[]; values: Values; io: Io }) => Promise<number>;

const ACTIONS: Readonly<Record<string, Action>> = {
  list,
  show,
  replay: (it) => settle("replay", it),
  drop: (it) => settle("drop", it),
};

export const dead: Command = {
  name: "dead",
  usage: "list|show|replay|drop -c FILE [ID ...]",
  summary: "dead letters: list and show them, send them through the routes again, drop them",
  options: {
    config: CONFIG_OPTION,
    all: { type: "boolean", summary: "replay, drop: all of them" },
    table: { type: "string", value: "TABLE", summary: "only those that were meant for this table" },
    topic: { type: "string", value: "PATTERN", summary: "only those of these topics: Home/{room}/climate" },
    to: {
      type: "string",
      value: "TABLE",
      summary: "replay: to this table, where the route that they came by is gone",
    },
    json: JSON_OPTION,
  },
  notes: [
    "A letter is a message that could not be stored, with the reason. `replay` sends it through the routes as they are now.",
    "Works beside a gateway that runs, and without one.",
    "list --json, show --json: { id, received_at, topic, payload or payload_base64, qos, route, table, reason, errno }.",
    "Exit codes: 0 done; 1 some letters stay, each with why; 2 no such id.",
  ],
  actions: Object.keys(ACTIONS),
  positionals: [1, Infinity],
  async run({ values, positionals: [action, ...rest] }, io) {
    if (!Object.hasOwn(ACTIONS, action)) {
      throw new UsageError(`dead: there is no "${action}"`, {
        hint: `there are ${Object.keys(ACTIONS).join(", ")}`,
      });
    }
    if (typeof values.config !== "string") throw new UsageError(`dead ${action} needs -c FILE`);
    if (values.to !== undefined && action !== "replay") throw new UsageError("--to goes with dead replay");
    const ids = rest.map(idOf);
    const loaded = await loadConfig(values.config);
    return ACTIONS[action]({ loaded, ids, values, io });
  },
};

function idOf(text: string): number {
  if (!/^[1-9]\d{0,14}$/.test(text)) {
    throw new UsageError(`"${text}" is no id of a dead letter: \`sluice dead list\` shows them`);
  }
  return Number(text);
}

async function list({ loaded, ids, values, io }: Parameters<Action>[0]): Promise<number> {
  if (ids.length > 0) throw new UsageError("dead list takes no ids: `sluice dead show ID` shows one letter");
  const wanted = filterOf(values);
  using reader = new SpoolReader(loaded.config.spool.path);
  const format = values.json ? (letter: Letter) => JSON.stringify(fieldsOf(letter)) : lineOf;
  const count = await printLines(reader.letters().filter(wanted).map(format), io);
  if (!values.json) {
    io.err(
      count === 0
        ? "no dead letters"
        : `${count} dead letter${
          count === 1 ? "" : "s"
        }: \`sluice dead show ID\` shows one, \`sluice dead replay ID\` sends it through the routes again`,
    );
  }
  return io.signal.aborted ? 1 : 0;
}

function show({ loaded, ids, values, io }: Parameters<Action>[0]): Promise<number> {
  if (ids.length === 0) throw new UsageError("usage: sluice dead show -c FILE ID ...");
  using reader = new SpoolReader(loaded.config.spool.path);
  for (const letter of ids.map((id) => letterOf(reader, id))) {
    io.out(values.json ? JSON.stringify(fieldsOf(letter)) : pageOf(letter));
  }
  return Promise.resolve(0);
}

async function settle(
  op: LetterOrder["op"],
  { loaded, ids: named, values, io }: Parameters<Action>[0],
): Promise<number> {
  const ids = select(op, loaded.config.spool.path, named, values);
  const answer = { done: 0, kept: [] as LetterAnswer["kept"][number][] };
  if (ids.length > 0) {
    await using gateway = await gatewayOf(loaded, io);
    for (let i = 0; i < ids.length; i += ORDER_MAX) {
      const to = values.to as string | undefined;
      const { done, kept } = await gateway.attend({ op, ids: ids.slice(i, i + ORDER_MAX), to });
      answer.done += done;
      answer.kept.push(...kept);
    }
  }
  const word = op === "replay" ? "replayed" : "dropped";
  if (values.json) io.out(JSON.stringify({ [word]: answer.done, kept: answer.kept }));
  else io.out(`${answer.done} dead letter${answer.done === 1 ? "" : "s"} ${word}`);
  const { kept } = answer;
  for (const { id, reason } of kept.slice(0, TOLD_MAX)) io.err(`letter ${id} stays: ${harmless(reason)}`);
  if (kept.length > TOLD_MAX) io.err(`and ${kept.length - TOLD_MAX} more stay`);
  return kept.length > 0 ? 1 : 0;
}

/** The ids of what was asked for, as of now: a letter that dies again is a new one. */
function select(op: string, path: string, named: readonly number[], values: Values): number[] {
  const filtered = values.table !== undefined || values.topic !== undefined;
  if (named.length > 0 && (filtered || values.all)) {
    throw new UsageError(`dead ${op} takes ids, or --table, --topic or --all, not both`);
  }
  if (named.length === 0 && !filtered && !values.all) {
    throw new UsageError(`dead ${op} needs ids, --table, --topic or --all`);
  }
  const wanted = filterOf(values);
  using reader = new SpoolReader(path);
  if (named.length > 0) return [...new Set(named)].map((id) => letterOf(reader, id).id);
  return [...reader.letters().filter(wanted).map((it) => it.id)];
}

function filterOf({ table, topic }: Values): (letter: Letter) => boolean {
  let pattern: ReturnType<typeof parsePattern> | undefined;
  try {
    pattern = typeof topic === "string" ? parsePattern(topic) : undefined;
  } catch (error) {
    throw new UsageError(`--topic: ${messageOf(error)}`);
  }
  return (letter) =>
    (table === undefined || letter.lane === table) &&
    (pattern === undefined || matchPattern(pattern, letter.topic.split("/")) !== null);
}

function letterOf(reader: SpoolReader, id: number): Letter {
  const letter = reader.letter(id);
  if (!letter) {
    throw new SluiceError(`there is no dead letter ${id}`, { hint: "`sluice dead list` shows them" });
  }
  return letter;
}

/** Whoever holds the spool; where nobody does, this command takes its place. */
async function gatewayOf({ config }: LoadedConfig, io: Io): Promise<
  { attend(order: LetterOrder): Promise<LetterAnswer> } & AsyncDisposable
> {
  const { path, maxSize } = config.spool;
  const router = routerOf(config, new Map());
  try {
    const spool = await openSpool({ path, bytesMax: maxSize });
    for (const note of spool.notes) io.err(note);
    spool.routeBy((topic) => router.address(topic));
    return spool;
  } catch (error) {
    if (!isInUse(path)) throw error;
    return {
      attend: (order) => askGateway(path, order, { signal: io.signal }),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
  }
}

function fieldsOf(letter: Letter) {
  const { id, route, lane, reason, errno } = letter;
  return { id, ...messageFields(letter), route, table: lane, reason, errno };
}

function lineOf({ id, receivedAtMs, topic, lane, reason }: Letter): string {
  return `${id}  ${isoTime(receivedAtMs)}  ${harmless(topic)} -> ${lane}  ${harmless(reason)}`;
}

function pageOf(letter: Letter): string {
  const { id, receivedAtMs, topic, payload, qos, retain, route, lane, reason, errno } = letter;
  return [
    `letter   ${id}`,
    `arrived  ${isoTime(receivedAtMs)}, QoS ${qos}${retain ? ", retained" : ""}`,
    `topic    ${harmless(topic)}`,
    `route    ${harmless(route)}`,
    `table    ${lane}`,
    `reason   ${harmless(reason)}${errno === null ? "" : ` (error ${errno})`}`,
    `payload  ${payload.length} bytes`,
    payloadText(payload),
    "",
  ].join("\n");
}
