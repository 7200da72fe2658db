/**
 * What was heard, topic by topic: how often, in which form, with which fields of which types.
 *
 * Bounded: topics beyond the limit are counted and otherwise ignored, and of a payload nothing is kept but one
 * sample. It draws no conclusions; `proposal.ts` does.
 */
import type { Message } from "../message.ts";

/** Topics that are kept; more than a home has, fewer than memory has. */
const TOPICS_MAX = 5_000;
const FIELDS_MAX = 200;
/** Samples above this many bytes are not kept. */
const SAMPLE_BYTES_MAX = 16 * 1024;

export type Form = "object" | "array" | "number" | "boolean" | "text" | "binary" | "empty";

/** What the values of one field, or of a plain topic, have been so far. */
export interface FieldFacts {
  count: number;
  integers: number;
  numbers: number;
  booleans: number;
  /** Times with a zone, and those without one. */
  times: number;
  localTimes: number;
  texts: number;
  structures: number;
  lengthMax: number;
  /** Largest magnitude of a number. */
  magnitudeMax: number;
}

export interface TopicFacts {
  readonly topic: string;
  readonly levels: readonly string[];
  count: number;
  retained: number;
  /** Forms that were seen, with counts. */
  readonly forms: Map<Form, number>;
  /** JSON objects: by path of keys, nested objects are entered. Plain values: the key is the empty path. */
  readonly fields: Map<string, FieldFacts>;
  /** Paths as lists of keys, by the same key as in `fields`. */
  readonly paths: Map<string, readonly string[]>;
  sample: Message | undefined;
}

export class Observation {
  readonly topics = new Map<string, TopicFacts>();
  /** Messages heard. */
  messages = 0;
  /** Messages on topics beyond the limit. */
  ignored = 0;

  add(message: Message): void {
    this.messages++;
    const facts = this.topics.get(message.topic) ?? this.#begin(message.topic);
    if (!facts) {
      this.ignored++;
      return;
    }
    facts.count++;
    if (message.retain) facts.retained++;
    if (message.payload.length <= SAMPLE_BYTES_MAX && message.payload.length > 0) facts.sample = message;
    const { form, value } = read(message.payload);
    facts.forms.set(form, (facts.forms.get(form) ?? 0) + 1);
    if (form === "object") enter(facts, [], value as Record<string, unknown>, 0);
    else if (form !== "empty" && form !== "binary") note(facts, [], value);
  }

  #begin(topic: string): TopicFacts | undefined {
    if (this.topics.size >= TOPICS_MAX) return undefined;
    const facts: TopicFacts = {
      topic,
      levels: topic.split("/"),
      count: 0,
      retained: 0,
      forms: new Map(),
      fields: new Map(),
      paths: new Map(),
      sample: undefined,
    };
    this.topics.set(topic, facts);
    return facts;
  }
}

/** The form that a topic's payloads have most often. */
export function mainForm({ forms }: TopicFacts): Form {
  const [form] = [...forms].sort((a, b) => b[1] - a[1]).find(([form]) => form !== "empty") ?? ["empty"];
  return form;
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const NUMBER = /^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$/;
/** Digits that a number would not keep: a serial number, a telephone number. */
const IDENTIFIER = /^\s*[-+]?(0\d|\d{16})/;
const TIME = /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[-+]\d\d:?\d\d)?$/;
const BOOLEAN = /^(on|off|true|false|online|offline|open|closed)$/i;

function read(payload: Uint8Array): { form: Form; value: unknown } {
  if (payload.length === 0) return { form: "empty", value: null };
  let text: string;
  try {
    text = decoder.decode(payload);
  } catch {
    return { form: "binary", value: null };
  }
  if (NUMBER.test(text)) return { form: "number", value: Number(text) };
  if (BOOLEAN.test(text.trim())) return { form: "boolean", value: text.trim() };
  if (/^\s*[[{]/.test(text)) {
    try {
      const value = JSON.parse(text);
      return { form: Array.isArray(value) ? "array" : "object", value };
    } catch {
      return { form: "text", value: text };
    }
  }
  return { form: "text", value: text };
}

/** Nested objects are entered this deep; below, the object is one value. */
const DEPTH_MAX = 3;

function enter(
  facts: TopicFacts,
  path: readonly string[],
  value: Record<string, unknown>,
  depth: number,
): void {
  for (const key of Object.keys(value)) {
    const inner = value[key];
    const below = [...path, key];
    const isObject = inner !== null && typeof inner === "object" && !Array.isArray(inner);
    if (isObject && depth < DEPTH_MAX && Object.keys(inner).length > 0) {
      enter(facts, below, inner as Record<string, unknown>, depth + 1);
    } else {
      note(facts, below, inner);
    }
  }
}

function note(facts: TopicFacts, path: readonly string[], value: unknown): void {
  const key = JSON.stringify(path);
  let field = facts.fields.get(key);
  if (!field) {
    if (facts.fields.size >= FIELDS_MAX) return;
    field = {
      count: 0,
      integers: 0,
      numbers: 0,
      booleans: 0,
      times: 0,
      localTimes: 0,
      texts: 0,
      structures: 0,
      lengthMax: 0,
      magnitudeMax: 0,
    };
    facts.fields.set(key, field);
    facts.paths.set(key, path);
  }
  field.count++;
  if (typeof value === "number") {
    field.numbers++;
    if (Number.isInteger(value)) field.integers++;
    field.magnitudeMax = Math.max(field.magnitudeMax, Math.abs(value));
  } else if (typeof value === "boolean") {
    field.booleans++;
  } else if (typeof value === "string") {
    field.lengthMax = Math.max(field.lengthMax, [...value].length);
    const time = TIME.exec(value);
    if (time) time[3] ? field.times++ : field.localTimes++;
    else if (BOOLEAN.test(value)) field.booleans++;
    else if (NUMBER.test(value) && !IDENTIFIER.test(value)) field.numbers++;
    else field.texts++;
  } else if (value !== null) {
    field.structures++;
  }
}
