/**
 * What was heard, topic by topic: how often, in which form, with which fields of which types.
 *
 * Bounded, also by bytes, whatever is sent: topics and fields beyond the limits are counted and otherwise ignored, and of
 * a payload nothing is kept but one sample. It draws no conclusions; `proposal.ts` does.
 */
import type { Message } from "../message.ts";

/** Topics that are kept; more than a home has, fewer than memory has. */
const TOPICS_MAX = 5_000;
const FIELDS_MAX = 200;
/** Keys and topics that are longer are no names. */
const NAME_LENGTH_MAX = 500;
/** Samples above this many bytes are not kept. */
const SAMPLE_BYTES_MAX = 16 * 1024;
/** Payloads above this many bytes are not read: they are pictures and firmware. */
const READ_BYTES_MAX = 1024 * 1024;
/** For all topics, fields and samples together, about. */
const BYTES_MAX = 32 * 1024 * 1024;
const TOPIC_BYTES = 1_000, FIELD_BYTES = 300;
/** Above it a text is long, no matter how long. */
const LENGTH_COUNTED_MAX = 10_000;

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
  #bytes = 0;

  add(message: Message): void {
    this.messages++;
    const facts = this.topics.get(message.topic) ?? this.#begin(message.topic);
    if (!facts) {
      this.ignored++;
      return;
    }
    facts.count++;
    if (message.retain) facts.retained++;
    this.#keepSample(facts, message);
    const { form, value } = read(message.payload);
    facts.forms.set(form, (facts.forms.get(form) ?? 0) + 1);
    if (form === "object") this.#enter(facts, [], value as Record<string, unknown>, 0);
    else if (form !== "empty" && form !== "binary") this.#note(facts, [], value);
  }

  /** The newest that is small enough. */
  #keepSample(facts: TopicFacts, message: Message): void {
    const { length } = message.payload;
    const more = length - (facts.sample?.payload.length ?? 0);
    if (length === 0 || length > SAMPLE_BYTES_MAX || this.#bytes + more > BYTES_MAX) return;
    this.#bytes += more;
    // What came over the wire may be a part of something larger.
    facts.sample = { ...message, payload: message.payload.slice() };
  }

  #begin(topic: string): TopicFacts | undefined {
    const isName = topic.length <= NAME_LENGTH_MAX && !topic.includes("\0");
    if (!isName || this.topics.size >= TOPICS_MAX || this.#bytes >= BYTES_MAX) return undefined;
    this.#bytes += TOPIC_BYTES + 4 * topic.length;
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

  #enter(facts: TopicFacts, path: readonly string[], value: Record<string, unknown>, depth: number): void {
    for (const key of Object.keys(value)) {
      if (key.length > NAME_LENGTH_MAX) continue;
      const inner = value[key];
      const below = [...path, key];
      const isObject = inner !== null && typeof inner === "object" && !Array.isArray(inner);
      if (isObject && depth < DEPTH_MAX && Object.keys(inner).length > 0) {
        this.#enter(facts, below, inner as Record<string, unknown>, depth + 1);
      } else {
        this.#note(facts, below, inner);
      }
    }
  }

  #note(facts: TopicFacts, path: readonly string[], value: unknown): void {
    const key = JSON.stringify(path);
    let field = facts.fields.get(key);
    if (!field) {
      if (facts.fields.size >= FIELDS_MAX || this.#bytes >= BYTES_MAX) return;
      this.#bytes += FIELD_BYTES + 6 * key.length;
      facts.fields.set(key, field = noFacts());
      facts.paths.set(key, path);
    }
    count(field, value);
  }
}

const noFacts = (): FieldFacts => ({
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
});

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
  if (payload.length > READ_BYTES_MAX) return { form: "binary", value: null };
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

function count(field: FieldFacts, value: unknown): void {
  field.count++;
  if (typeof value === "number") {
    field.numbers++;
    if (Number.isInteger(value)) field.integers++;
    field.magnitudeMax = Math.max(field.magnitudeMax, Math.abs(value));
  } else if (typeof value === "boolean") {
    field.booleans++;
  } else if (typeof value === "string") {
    field.lengthMax = Math.max(field.lengthMax, lengthOf(value));
    const time = TIME.exec(value);
    if (time) time[3] ? field.times++ : field.localTimes++;
    else if (BOOLEAN.test(value)) field.booleans++;
    else if (NUMBER.test(value) && !IDENTIFIER.test(value)) field.numbers++;
    else field.texts++;
  } else if (value !== null) {
    field.structures++;
  }
}

/** Characters. */
const lengthOf = (text: string) => text.length > LENGTH_COUNTED_MAX ? text.length : [...text].length;
