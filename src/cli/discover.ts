/**
 * `sluice discover`: listens for a while and proposes routes for what it hears that no route takes yet. It stores
 * nothing and does not disturb the gateway; only with `--write` it adds the routes to the configuration.
 */
import { type Clock, systemClock } from "../clock.ts";
import { loadConfig } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
import type { Router } from "../contracts.ts";
import { FAMILIES } from "../discover/families.ts";
import { type Announced, isDiscovery, readDiscovery } from "../discover/home_assistant.ts";
import { Observation } from "../discover/observation.ts";
import { propose } from "../discover/proposal.ts";
import { SluiceError, UsageError } from "../errors.ts";
import type { Message } from "../message.ts";
import { disjointFilters } from "../route/filters.ts";
import { createRouter, shapesOf, validateRoute } from "../route/mod.ts";
import type { PresetName, RouteOptions } from "../route/options.ts";
import { matchPattern, parsePattern } from "../route/pattern.ts";
import { formatDuration } from "../units.ts";
import { addRoutes } from "./add_routes.ts";
import { type Command, CONFIG_OPTION, type Io, JSON_OPTION } from "./command.ts";
import { count, formatFound, type Found, found } from "./found.ts";
import { durationOption, FOR_OPTION, listen, TOPIC_OPTION, topicOption } from "./listen.ts";

const FOR_MS = 60_000;
const HOME_FILTER = "Home/#";
const DISCOVERY_FILTER = "homeassistant/#";

export const discover: Command = {
  name: "discover",
  usage: "-c FILE [--for 60s] [--topic FILTER] [--write] [--json]",
  summary: "listens, recognises devices and payloads, and proposes routes and tables for them",
  options: {
    config: CONFIG_OPTION,
    for: { ...FOR_OPTION, summary: "how long to listen; default 60s, Ctrl-C ends sooner" },
    topic: { ...TOPIC_OPTION, summary: "listen to this instead of all that devices usually use" },
    write: { type: "boolean", summary: "add the routes to the configuration" },
    json: JSON_OPTION,
  },
  notes: [
    "Retained messages of Home Assistant's discovery give units, and topics to listen to besides.",
    "--json: { kind, topics, messages, route, columns: [{ table?, name, type, unit, value }], sql, sample: { topic, rows,",
    "reason } }, one for each route; `table` where it is not the route's first one.",
    "Exit codes: 0 something was heard, whether or not it was new; 1 nothing was; 69 the broker is out of reach.",
  ],
  async run({ values }, io) {
    const path = values.config;
    if (typeof path !== "string") throw new UsageError("discover needs a configuration: -c FILE");
    const forMs = durationOption(values.for) ?? FOR_MS;
    const topic = topicOption(values.topic);
    const { config } = await loadConfig(path);
    const hearing = new Hearing(config, topic);
    await hear(config, hearing, topic, forMs, io);
    const proposals = hearing.proposals();
    const all = proposals.slice(0, PROPOSALS_MAX).map((proposal) => found(proposal, config.name));
    for (const it of all) io.out(values.json ? JSON.stringify(it) : formatFound(it));
    for (const line of hearing.summary(all, proposals.length - all.length)) io.err(line);
    if (all.length === 0) return 0;
    if (values.write) await write(path, all, config, io);
    else io.err("--write adds them to the configuration");
    return 0;
  },
};

async function hear(config: Config, hearing: Hearing, topic: string | undefined, forMs: number, io: Io) {
  const filters = topic === undefined
    ? usualFilters(config.routes)
    : disjointFilters([topic, DISCOVERY_FILTER]);
  const progress = new Progress(forMs, hearing);
  try {
    await listen(config, {
      filters,
      forMs,
      signal: io.signal,
      say: (sentence) => progress.above(() => io.err(sentence)),
      onListening: () => progress.start(),
    }, (message, also) => {
      for (const stateTopic of hearing.add(message)) if (topic === undefined) also(stateTopic);
    });
  } finally {
    progress.end();
  }
  if (hearing.messages > 0) return;
  throw new SluiceError(`nothing was heard on ${topic ?? "the topics that devices usually use"}`, {
    hint:
      "listen longer with --for 10m, or to everything with --topic '#'; or do the broker's access rules " +
      "(mosquitto: acl_file) keep messages from this user?",
  });
}

/**
 * The home, the first levels of the configuration's routes, and where the known families publish. Some of these overlap, so that
 * a broker may send a few messages twice: their least common cover would be everything.
 */
function usualFilters(routes: readonly RouteOptions[]): string[] {
  const own = routes.flatMap(({ topic }) => {
    const [first] = topic ? parsePattern(topic).levels : [];
    return first?.kind === "literal" ? [`${first.text}/#`] : topic ? [parsePattern(topic).filter] : [];
  });
  const families = FAMILIES.flatMap(({ filters }) => filters);
  return [...new Set([...own, HOME_FILTER, DISCOVERY_FILTER, ...families])];
}

/** Announcements, and topics that are taken: more than a home has. */
const REMEMBERED_MAX = 10_000;
/** Routes that are proposed: more than anyone would read. */
const PROPOSALS_MAX = 100;

/** Sorts what is heard: announcements, what the routes take already, and what is new. */
class Hearing {
  readonly #observation = new Observation();
  readonly #announced = new Map<string, readonly Announced[]>();
  readonly #taken = new Set<string>();
  readonly #config: Config;
  readonly #router: Router;
  readonly #wanted: ReturnType<typeof parsePattern> | undefined;
  messages = 0;

  constructor(config: Config, topic: string | undefined) {
    this.#config = config;
    // A route that takes everything is what one has before one discovers.
    const routes = config.routes.filter((route) => !takesAll(route));
    this.#router = createRouter({ routes, gateway: config.name });
    this.#wanted = topic === undefined ? undefined : parsePattern(topic);
  }

  get topics(): number {
    return this.#observation.topics.size + this.#taken.size;
  }

  /** Returns topics that the message announces. */
  add(message: Message): readonly string[] {
    if (isDiscovery(message.topic)) {
      const announced = this.#announced.size < REMEMBERED_MAX ? readDiscovery(message) : [];
      if (announced.length > 0) this.#announced.set(message.topic, announced);
      return announced.map(({ stateTopic }) => stateTopic).filter((it) => !isListenedTo(it));
    }
    if (!this.#wanted || matchPattern(this.#wanted, message.topic.split("/"))) {
      this.messages++;
      if (this.#router.address(message.topic).length === 0) this.#observation.add(message);
      else if (this.#taken.size < REMEMBERED_MAX) this.#taken.add(message.topic);
    }
    return [];
  }

  proposals() {
    return propose(this.#observation, {
      announced: [...this.#announced.values()].flat(),
      allows: (preset: PresetName) => validateRoute({ preset }).length === 0,
      has: (preset: PresetName) => this.#config.routes.some(({ family }) => family === preset),
      tables: shapesOf(this.#config.routes).map(({ table }) => table),
      zone: homeZone(),
    });
  }

  /** Topics that were announced and have said nothing. */
  get #silent(): number {
    const topics = new Set([...this.#announced.values()].flat().map(({ stateTopic }) => stateTopic));
    return [...topics].filter((it) => !this.#observation.topics.has(it) && !this.#taken.has(it)).length;
  }

  summary(all: readonly Found[], more: number): string[] {
    const { ignored } = this.#observation;
    const taken = this.#taken.size;
    const silent = this.#silent;
    return [
      `heard ${count(this.messages, "message")} on ${count(this.topics, "topic")}: ${
        all.length === 0 ? "nothing new to propose" : count(all.length, "new route")
      }`,
      ...(taken > 0 ? [`the routes of the configuration take ${count(taken, "topic")} already`] : []),
      ...(silent > 0
        ? [
          `Home Assistant knows ${
            count(silent, "more topic")
          } that said nothing meanwhile: listen longer with --for 10m`,
        ]
        : []),
      ...overlaps(all),
      ...(more > 0
        ? [`${more} further kinds of topics are left out: look at some at a time, with --topic`]
        : []),
      ...(ignored > 0
        ? [`${count(ignored, "message")} came on more topics than are looked at: narrow it with --topic`]
        : []),
    ];
  }
}

const LISTENED_TO = [HOME_FILTER, DISCOVERY_FILTER, ...FAMILIES.flatMap(({ filters }) => filters)].map(
  parsePattern,
);

/** Whether the topic is among those that devices usually use. */
function isListenedTo(topic: string): boolean {
  const levels = topic.split("/");
  return LISTENED_TO.some((pattern) => matchPattern(pattern, levels) !== null);
}

/** A pattern may take topics that have a route of their own: then a message makes two rows. */
function overlaps(all: readonly Found[]): string[] {
  return all.flatMap(({ route, topics }) => {
    if (route.topic === undefined) return [];
    const pattern = parsePattern(route.topic);
    const others = all.filter((it) => it.topics !== topics).flatMap((it) => it.topics);
    const twice = others.filter((topic) => matchPattern(pattern, topic.split("/")));
    if (twice.length === 0) return [];
    const more = twice.length > 1 ? ` and ${twice.length - 1} more` : "";
    return [
      `note: ${route.topic} also takes ${
        twice[0]
      }${more}, which has a route of its own: two rows for each message`,
    ];
  });
}

/** This machine's zone is most likely that of the devices. */
function homeZone(): string | undefined {
  const zone = Temporal.Now.timeZoneId();
  return zone === "UTC" || zone === "Etc/UTC" ? undefined : zone;
}

function takesAll({ topic, family }: RouteOptions): boolean {
  return family === undefined && topic !== undefined && parsePattern(topic).levels.at(-1)!.kind === "rest";
}

async function write(path: string, all: readonly Found[], config: Config, io: Io): Promise<void> {
  const before = config.routes.filter(takesAll);
  await addRoutes(path, all.map(({ route }) => route));
  io.err(
    `${count(all.length, "route")} added to ${path}; sluice check -c ${path} compares them with the tables`,
  );
  const { config: now } = await loadConfig(path);
  const kept = new Set(now.routes.map(({ topic }) => topic));
  for (const { topic, table } of before) {
    io.err(
      kept.has(topic)
        ? `note: ${topic} still goes to the table ${table} as well: what both take makes two rows`
        : `note: without "routes" everything under ${topic} went to the table ${table}; from now on only the routes count`,
    );
  }
}

const PROGRESS_MS = 500;

/** A line that is written over and over, on a terminal only. */
class Progress {
  readonly #forMs: number;
  readonly #hearing: Hearing;
  readonly #clock: Clock = systemClock;
  readonly #shown = Deno.stderr.isTerminal();
  #startedAt: number | undefined;
  #stop: (() => void) | undefined;

  constructor(forMs: number, hearing: Hearing) {
    this.#forMs = forMs;
    this.#hearing = hearing;
  }

  start(): void {
    if (!this.#shown) return;
    this.#startedAt = this.#clock.now();
    this.#tick();
  }

  /** Writes something else above the line. */
  above(say: () => void): void {
    this.#draw("");
    say();
  }

  end(): void {
    this.#stop?.();
    this.#draw("");
  }

  #tick(): void {
    const leftMs = Math.max(0, this.#forMs - (this.#clock.now() - this.#startedAt!));
    const { messages, topics } = this.#hearing;
    this.#draw(`${count(messages, "message")} on ${count(topics, "topic")}, ${formatDuration(leftMs)} left`);
    const timer = this.#clock.timer(PROGRESS_MS, () => this.#tick());
    this.#stop = () => timer.cancel();
  }

  #draw(text: string): void {
    if (this.#startedAt !== undefined) Deno.stderr.writeSync(new TextEncoder().encode(`\r\x1b[K${text}`));
  }
}
