/**
 * JSON without loss: integers beyond 2^53 become bigint, and decimals that a double cannot hold stay as their text.
 * A number with an exponent is a double, which is how doubles are printed; beyond a double's range it stays as text.
 *
 * Reading every number's source text costs several times as much, so it is done only where a text has a number that
 * is long enough to need it.
 */
import { countOf, DEPTH_MAX, isTooDeep, refuseHuge, VALUES_MAX } from "./limits.ts";
import { parseNumber } from "./number.ts";
import { decodeText } from "./text.ts";
import { UnreadableError } from "./unreadable_error.ts";

/** A number of 16 digits or more, with or without a point, or of a size beyond 1e99. */
const LONG_NUMBER = /\d[\d.]{15,}|\d[eE]\+?\d{3}/;

export function decodeJson(payload: Uint8Array): unknown {
  refuseHuge(payload, "JSON");
  return parseJson(decodeText(payload));
}

export function parseJson(text: string): unknown {
  if (text.length > VALUES_MAX && countOf([",", "[", "{"], text, VALUES_MAX) > VALUES_MAX) {
    throw new UnreadableError(`JSON with more than ${VALUES_MAX} values`);
  }
  if (countOf(["[", "{"], text, DEPTH_MAX) > DEPTH_MAX && isTooDeep(parse(text))) {
    throw new UnreadableError(`JSON nested deeper than ${DEPTH_MAX} levels`);
  }
  return parse(text, LONG_NUMBER.test(text) ? exactNumber : undefined);
}

/** MySQL and MariaDB take some of these for 0. */
const ABSURD = /[eE]\+?0*[1-9]\d{4,}$/;

type Reviver = (key: string, value: unknown, context: { source?: string }) => unknown;

function parse(text: string, reviver?: Reviver): unknown {
  try {
    return JSON.parse(text, reviver as (key: string, value: unknown) => unknown);
  } catch (error) {
    if (error instanceof UnreadableError) throw error;
    throw new UnreadableError(
      `not JSON: ${(error as Error).message.replace(/^.*?JSON\.parse: /, "").replace(/\s+/g, " ")}`,
    );
  }
}

function exactNumber(this: object, key: string, value: unknown, { source }: { source?: string }): unknown {
  if (typeof value !== "number" || source === undefined || String(value) === source) return value;
  if (ABSURD.test(source)) throw new UnreadableError("a number with an exponent beyond every range");
  const exact = parseNumber(source) ?? source;
  if (typeof exact === "string") keep(this, key, exact);
  return exact;
}

/** Numbers that stayed as their text, by the array or object that they are in. */
const kept = new WeakMap<object, Map<string, string>>();

function keep(holder: object, key: string, text: string): void {
  let texts = kept.get(holder);
  if (!texts) kept.set(holder, texts = new Map());
  texts.set(key, text);
}

/** Whether the text that lies there was written as a number, and must be written as one again. */
export function wasNumber(holder: object, key: string, text: string): boolean {
  return kept.get(holder)?.get(key) === text;
}
