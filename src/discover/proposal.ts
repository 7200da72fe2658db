/**
 * From what was heard to routes: known families become presets, everything else is grouped by shape.
 *
 * Topics with the same number of levels, the same last level and the same fields are one kind of device; the levels in
 * which they differ become `{placeholders}`. Types come from all values heard, with room to grow. Pure.
 */
import { PRESET } from "../route/mod.ts";
import type { ColumnOptions, PresetName, RouteOptions } from "../route/options.ts";
import { type Family, familyOf } from "./families.ts";
import type { Announced } from "./home_assistant.ts";
import { type FieldFacts, type Form, mainForm, type Observation, type TopicFacts } from "./observation.ts";

/** One route that would take what was heard, and the topics that made it. */
export interface Proposal {
  readonly route: RouteOptions;
  /** For people: "Tasmota", or "JSON objects". */
  readonly kind: string;
  readonly topics: readonly TopicFacts[];
}

export interface ProposalOptions {
  /** What Home Assistant's discovery has said. */
  readonly announced?: readonly Announced[];
  /** Whether a preset may be used; the topics of a family whose preset may not are grouped by shape. @default all may */
  readonly allows?: (preset: PresetName) => boolean;
  /** Whether the configuration has the preset already: what it leaves out needs no route. @default it has none */
  readonly has?: (preset: PresetName) => boolean;
  /** Names of tables that have an owner already. */
  readonly tables?: readonly string[];
  /** Where the home is, for times without an offset, e.g. Europe/Berlin. @default UTC */
  readonly zone?: string;
}

/** Names for the levels that differ, from left to right. */
const LEVEL_NAMES = ["device", "part", "item", "detail"];
/** At most so many columns are proposed for one table. */
const COLUMNS_MAX = 40;
/** What a family says about itself: no readings. */
const ADMINISTRATION = /^(zigbee2mqtt\/bridge\/|frigate\/stats$)/;

interface Kin {
  readonly family: Family | undefined;
  readonly topics: TopicFacts[];
}

export function propose(observation: Observation, options: ProposalOptions = {}): Proposal[] {
  const { announced = [], allows = () => true, has = () => false, tables = [], zone } = options;
  const kin = new Map<PresetName | undefined, Kin>();
  for (const facts of observation.topics.values()) {
    if (facts.topic.startsWith("$") || mainForm(facts) === "empty") continue;
    const family = familyOf(facts);
    const one = kin.get(family?.preset) ?? { family, topics: [] };
    one.topics.push(facts);
    kin.set(family?.preset, one);
  }
  const taken = new Set([...tables, "sluice_ledger"]);
  const byTopic = Map.groupBy(announced, ({ stateTopic }) => stateTopic);
  return [...kin.values()].sort((a, b) => Number(!a.family) - Number(!b.family)).flatMap(
    ({ family, topics }): Proposal[] => {
      if (family && has(family.preset)) return [];
      if (family && allows(family.preset)) {
        return [{ route: presetRoute(family.preset, taken), kind: family.title, topics }];
      }
      const readings = topics.filter(({ topic }) => !ADMINISTRATION.test(topic));
      return groups(readings, family !== undefined).map((group) =>
        shaped(group, { family, announced: byTopic, taken, zone })
      );
    },
  );
}

function presetRoute(preset: PresetName, taken: Set<string>): RouteOptions {
  const usual = PRESET[preset].table;
  const table = freeName(usual, taken);
  return table === usual ? { preset } : { preset, table };
}

/** Topics that look like the same kind of device. Those of one family may differ in their first level. */
function groups(all: readonly TopicFacts[], oneFamily: boolean): TopicFacts[][] {
  const bySignature = new Map<string, TopicFacts[]>();
  for (const facts of all) {
    const form = mainForm(facts);
    const fields = form === "object" ? [...facts.fields.keys()].sort().join() : "";
    const root = oneFamily ? "" : facts.levels[0];
    const signature = JSON.stringify([facts.levels.length, root, facts.levels.at(-1), form, fields]);
    const group = bySignature.get(signature);
    if (group) group.push(facts);
    else bySignature.set(signature, [facts]);
  }
  return merge([...bySignature.values()]);
}

/**
 * Joins groups of JSON objects that differ only by a few fields: devices leave out what they do not know yet. Where the
 * last level alone differs, it is the device's name if nearly all fields are the same.
 */
function merge(found: TopicFacts[][]): TopicFacts[][] {
  const merged: TopicFacts[][] = [];
  for (const group of found.sort((a, b) => b.length - a.length)) {
    const [first] = group;
    const twin = mainForm(first) === "object" &&
      merged.find(([other]) =>
        mainForm(other) === "object" && other.levels.length === first.levels.length &&
        other.levels[0] === first.levels[0] &&
        (other.levels.at(-1) === first.levels.at(-1)
          ? similar(other, first, Math.min)
          : siblings(other, first) && similar(other, first, Math.max))
      );
    if (twin) twin.push(...group);
    else merged.push([...group]);
  }
  return merged;
}

/** Topics that differ in their last level only. */
function siblings(a: TopicFacts, b: TopicFacts): boolean {
  return a.levels.length > 1 && a.levels.slice(0, -1).every((level, i) => level === b.levels[i]);
}

/** At least half of the fields of the smaller (`Math.min`) or the larger (`Math.max`) are in both. */
function similar(a: TopicFacts, b: TopicFacts, whole: (...sizes: number[]) => number): boolean {
  const shared = [...a.fields.keys()].filter((key) => b.fields.has(key)).length;
  return shared * 2 >= whole(a.fields.size, b.fields.size) && shared > 0;
}

type Columns = Record<string, string | ColumnOptions>;

interface Shaping {
  readonly family: Family | undefined;
  readonly announced: ReadonlyMap<string, readonly Announced[]>;
  readonly taken: Set<string>;
  readonly zone: string | undefined;
}

function shaped(topics: readonly TopicFacts[], { family, announced, taken, zone }: Shaping): Proposal {
  const form = mainForm(topics[0]);
  const { pattern, names } = generalise(topics);
  const table = freeName(tableName(pattern), taken);
  const columns: Columns = { received_at: "@received" };
  for (const name of names) columns[name] = `{${name}}`;
  const column = (key: string, path: readonly string[]): ColumnOptions => {
    const unit = topics.flatMap(({ topic }) => announced.get(topic) ?? [])
      .find((it) => it.path.join("\0") === path.join("\0"))?.unit;
    return { value: pathText(path), ...typeOf(factsOf(topics, key), zone), ...(unit ? { unit } : {}) };
  };
  const kind = [...(family ? [family.title] : []), FORM_NAMES[form]].join(": ");
  if (form === "binary" || form === "array") return { route: { topic: pattern, table }, kind, topics };
  if (form === "object") {
    for (const [key, path] of fieldsOf(topics).slice(0, COLUMNS_MAX)) {
      columns[freeName(columnName(path), new Set(Object.keys(columns)))] = column(key, path);
    }
    return { route: { topic: pattern, table, decode: "json", columns }, kind, topics };
  }
  columns[freeName("value", new Set(Object.keys(columns)))] = column("[]", []);
  const decode = form === "number" ? "number" : "text";
  return { route: { topic: pattern, table, decode, columns }, kind, topics };
}

const FORM_NAMES: Readonly<Record<Form, string>> = {
  object: "JSON objects",
  array: "JSON arrays",
  number: "plain numbers",
  boolean: "plain states",
  text: "plain texts",
  binary: "binary payloads",
  empty: "empty payloads",
};

/** The levels in which the topics differ become placeholders. */
function generalise(topics: readonly TopicFacts[]): { pattern: string; names: string[] } {
  const names: string[] = [];
  const levels = topics[0].levels.map((level, i) => {
    if (topics.every((it) => it.levels[i] === level) && !/[{}+#]/.test(level)) return level;
    const name = LEVEL_NAMES[names.length] ?? `level${i + 1}`;
    names.push(name);
    return `{${name}}`;
  });
  return { pattern: levels.join("/"), names };
}

function tableName(pattern: string): string {
  const literal = pattern.split("/").filter((level) => !level.startsWith("{"));
  const words = literal.length > 1 ? literal.slice(1) : literal;
  return identifier(words.slice(-2).join("_")) || "readings";
}

const identifier = (text: string) =>
  text.replace(/([a-z])([A-Z])/g, "$1_$2").toLowerCase().replace(/[^a-z0-9]+/g, "_").replace(/^_+|_+$/g, "")
    .slice(0, 60);

const columnName = (path: readonly string[]) => identifier(path.join("_")) || "value";

function freeName(name: string, taken: Set<string>): string {
  let free = name;
  for (let n = 2; taken.has(free); n++) free = `${name}_${n}`;
  taken.add(free);
  return free;
}

function pathText(path: readonly string[]): string {
  return "$" +
    path.map((key) => /^[A-Za-z_]\w*$/.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`).join("");
}

/** All fields of the topics, the most frequent first, otherwise in the order of the payload. */
function fieldsOf(topics: readonly TopicFacts[]): [string, readonly string[]][] {
  const fields = new Map<string, readonly string[]>();
  for (const { paths } of topics) for (const [key, path] of paths) fields.set(key, path);
  return [...fields];
}

function factsOf(topics: readonly TopicFacts[], key: string): FieldFacts {
  const all = topics.map(({ fields }) => fields.get(key)).filter((it) => it !== undefined);
  const sum = (name: keyof FieldFacts) => all.reduce((total, it) => total + it[name], 0);
  const max = (name: keyof FieldFacts) => all.reduce((most, it) => Math.max(most, it[name]), 0);
  return {
    count: sum("count"),
    integers: sum("integers"),
    numbers: sum("numbers"),
    booleans: sum("booleans"),
    times: sum("times"),
    localTimes: sum("localTimes"),
    texts: sum("texts"),
    structures: sum("structures"),
    lengthMax: max("lengthMax"),
    magnitudeMax: max("magnitudeMax"),
  };
}

/** The narrowest type that holds everything heard, with room to grow. */
function typeOf(facts: FieldFacts, zone: string | undefined): Pick<ColumnOptions, "type" | "time" | "zone"> {
  const { numbers, integers, booleans, times, localTimes, texts, structures, lengthMax, magnitudeMax } =
    facts;
  if (structures > 0) return { type: "json" };
  if (texts > 0 || [numbers, booleans, times, localTimes].filter((n) => n > 0).length > 1) {
    return { type: lengthMax > 100 ? "text" : `varchar(${lengthMax > 20 ? 255 : 64})` };
  }
  if (booleans > 0) return { type: "boolean" };
  if (times > 0) return { type: "datetime(3)", time: "iso" };
  if (localTimes > 0) return { type: "datetime(3)", time: "local", ...(zone && { zone }) };
  // A reading that was whole so far may have a fraction tomorrow; what counts beyond a double's precision may not.
  const counts = magnitudeMax > Number.MAX_SAFE_INTEGER / 1_000 && integers === numbers;
  return { type: numbers === 0 ? "varchar(255)" : counts ? "bigint" : "double" };
}
