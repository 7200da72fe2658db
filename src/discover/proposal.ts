/**
 * From what was heard to routes: known families become presets, everything else is grouped by shape.
 *
 * Topics with the same number of levels, the same last level and the same fields are one kind of device; the levels in
 * which they differ become `{placeholders}`. Types come from all values heard, with room to grow. Pure.
 */
import type { PresetName, RouteOptions } from "../route/options.ts";
import { familyOf } from "./families.ts";
import type { Announced } from "./home_assistant.ts";
import { type FieldFacts, mainForm, type Observation, type TopicFacts } from "./observation.ts";

/** One route that would take what was heard, and the topics that made it. */
export interface Proposal {
  readonly route: RouteOptions;
  /** For people: "Tasmota", or "JSON objects". */
  readonly kind: string;
  readonly topics: readonly TopicFacts[];
}

/** Names for the levels that differ, from left to right. */
const LEVEL_NAMES = ["device", "part", "item", "detail"];
/** At most so many columns are proposed for one table. */
const COLUMNS_MAX = 40;

export function propose(observation: Observation, announced: readonly Announced[] = []): Proposal[] {
  const families = new Map<PresetName, { title: string; topics: TopicFacts[] }>();
  const others: TopicFacts[] = [];
  for (const facts of observation.topics.values()) {
    if (facts.topic.startsWith("$") || mainForm(facts) === "empty") continue;
    const family = familyOf(facts);
    if (!family) others.push(facts);
    else {
      const group = families.get(family.preset) ?? { title: family.title, topics: [] };
      group.topics.push(facts);
      families.set(family.preset, group);
    }
  }
  const presets = [...families].map(([preset, { title, topics }]): Proposal => ({
    route: { preset },
    kind: title,
    topics,
  }));
  const taken = new Set<string>();
  return [...presets, ...groups(others).map((topics) => shaped(topics, announced, taken))];
}

/** Topics that look like the same kind of device. */
function groups(all: readonly TopicFacts[]): TopicFacts[][] {
  const bySignature = new Map<string, TopicFacts[]>();
  for (const facts of all) {
    const form = mainForm(facts);
    const fields = form === "object" ? [...facts.fields.keys()].sort().join() : "";
    const signature = JSON.stringify([
      facts.levels.length,
      facts.levels[0],
      facts.levels.at(-1),
      form,
      fields,
    ]);
    const group = bySignature.get(signature);
    if (group) group.push(facts);
    else bySignature.set(signature, [facts]);
  }
  return merge([...bySignature.values()]);
}

/** Joins groups of JSON objects that differ only by a few fields: devices leave out what they do not know yet. */
function merge(found: TopicFacts[][]): TopicFacts[][] {
  const merged: TopicFacts[][] = [];
  for (const group of found.sort((a, b) => b.length - a.length)) {
    const [first] = group;
    const twin = mainForm(first) === "object" &&
      merged.find(([other]) =>
        mainForm(other) === "object" && other.levels.length === first.levels.length &&
        other.levels[0] === first.levels[0] && other.levels.at(-1) === first.levels.at(-1) &&
        similar(other, first)
      );
    if (twin) twin.push(...group);
    else merged.push([...group]);
  }
  return merged;
}

function similar(a: TopicFacts, b: TopicFacts): boolean {
  const shared = [...a.fields.keys()].filter((key) => b.fields.has(key)).length;
  return shared * 2 >= Math.min(a.fields.size, b.fields.size) && shared > 0;
}

function shaped(
  topics: readonly TopicFacts[],
  announced: readonly Announced[],
  taken: Set<string>,
): Proposal {
  const form = mainForm(topics[0]);
  const { pattern, names } = generalise(topics);
  const table = freeName(tableName(pattern), taken);
  const levels = Object.fromEntries(names.map((name) => [name, `{${name}}`]));
  const columns: Record<string, { value: string; type?: string; unit?: string } | string> = {
    received_at: "@received",
    ...levels,
  };
  const unit = (path: readonly string[]) =>
    announced.find((it) =>
      topics.some(({ topic }) => topic === it.stateTopic) && it.path.join("\0") === path.join("\0")
    )?.unit;
  if (form === "object") {
    for (const [key, path] of fieldsOf(topics).slice(0, COLUMNS_MAX)) {
      const type = typeOf(factsOf(topics, key));
      const name = freeName(columnName(path), new Set(Object.keys(columns)));
      columns[name] = { value: pathText(path), type, ...(unit(path) ? { unit: unit(path) } : {}) };
    }
    return { route: { topic: pattern, table, decode: "json", columns }, kind: "JSON objects", topics };
  }
  if (form === "binary" || form === "array") {
    return {
      route: { topic: pattern, table },
      kind: form === "array" ? "JSON arrays" : "binary payloads",
      topics,
    };
  }
  const type = typeOf(factsOf(topics, "[]"));
  columns.value = { value: "$", type, ...(unit([]) ? { unit: unit([]) } : {}) };
  const decode = form === "number" ? "number" : "text";
  return {
    route: { topic: pattern, table, decode, columns },
    kind: form === "number" ? "plain numbers" : "plain texts",
    topics,
  };
}

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
    texts: sum("texts"),
    structures: sum("structures"),
    lengthMax: max("lengthMax"),
    magnitudeMax: max("magnitudeMax"),
  };
}

/** The narrowest type that holds everything heard, with room to grow. */
function typeOf(facts: FieldFacts): string {
  const { numbers, booleans, times, texts, structures, lengthMax, magnitudeMax } = facts;
  if (structures > 0) return "json";
  if (texts > 0 || [numbers, booleans, times].filter((n) => n > 0).length > 1) {
    return lengthMax > 100 ? "text" : `varchar(${lengthMax > 20 ? 255 : 64})`;
  }
  if (booleans > 0) return "boolean";
  if (times > 0) return "datetime(3)";
  // A reading that was whole so far may have a fraction tomorrow; what counts beyond a double's precision may not.
  if (numbers > 0) return magnitudeMax > Number.MAX_SAFE_INTEGER / 1_000 ? "bigint" : "double";
  return "varchar(255)";
}
