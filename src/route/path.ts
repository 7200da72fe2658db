/**
 * Paths into a payload: `$`, `$.a.b`, `$["switch:0"].apower`, `$.list[0].x`, `$.params.*`, `$.params.**`. Compiled once;
 * missing is undefined.
 *
 * `*` is all that an array or an object holds, `**` every number, text, truth value and NULL below, at any depth. Only own
 * properties are seen, so that a key like `__proto__` is a key like any other. There are no filters: that is what
 * expressions are for.
 */
export type Reader = (payload: unknown) => unknown;

/** What a path with wildcards leads to, and the keys that the wildcards stand for, joined by points if several. */
export interface Match {
  readonly key: string | number;
  readonly value: unknown;
}

/** A step to all that an array or an object holds. */
const ALL = Symbol("*");
/** A step to all values below that hold nothing themselves. */
const LEAVES = Symbol("**");
type Step = string | number | typeof ALL | typeof LEAVES;

const STEP =
  /\.([\p{L}_$][\p{L}\p{N}_$-]*)|\[(\d+)\]|\[("(?:[^"\\]|\\.)*")\]|\['((?:[^'\\]|\\.)*)'\]|(\.\*\*|\.\*|\[\*\])/uy;

/** Reads a path. Throws `TypeError` that points at what cannot be read. */
function parsePath(text: string): Step[] {
  if (!text.startsWith("$")) throw new TypeError(`the path "${text}" must begin with $`);
  const steps: Step[] = [];
  STEP.lastIndex = 1;
  while (STEP.lastIndex < text.length) {
    const at = STEP.lastIndex;
    const match = STEP.exec(text);
    const step = match && stepOf(match);
    if (step === null || step === undefined) {
      throw new TypeError(
        `the path "${text}" cannot be read from "${text.slice(at)}" on: write $.key, $["any key"] or $[0]`,
      );
    }
    steps.push(step);
  }
  return steps;
}

function stepOf([, name, index, quoted, single, all]: RegExpExecArray): Step | undefined {
  if (all !== undefined) return all === ".**" ? LEAVES : ALL;
  if (name !== undefined) return name;
  if (index !== undefined) return Number(index);
  try {
    return quoted !== undefined ? JSON.parse(quoted) : single.replace(/\\(.)/gs, "$1");
  } catch {
    return undefined;
  }
}

/** A path as a reader. With wildcards it reads an array of all that they lead to. */
export function compilePath(text: string): Reader {
  const steps = parsePath(text);
  if (steps.some(isWildcard)) return (payload) => matchesOf(payload, steps)?.map((it) => it.value);
  const keys = steps as (string | number)[];
  if (keys.length === 1) {
    const [key] = keys;
    return (payload) => step(payload, key);
  }
  return (payload) => {
    let value = payload;
    for (const key of keys) value = step(value, key);
    return value;
  };
}

/** What a path with wildcards leads to, with the keys; undefined for a path without. */
export function compileWildcard(text: string): ((payload: unknown) => readonly Match[]) | undefined {
  const steps = parsePath(text);
  return steps.some(isWildcard) ? (payload) => matchesOf(payload, steps) ?? [] : undefined;
}

const isWildcard = (step: Step) => typeof step === "symbol";

/** All elements of an array or all properties of an object; undefined where it is neither. */
export function entriesOf(value: unknown): Match[] | undefined {
  if (Array.isArray(value)) return value.map((inner, key) => ({ key, value: inner }));
  if (value === null || typeof value !== "object" || value instanceof Uint8Array) return undefined;
  return Object.entries(value).map(([key, inner]) => ({ key, value: inner }));
}

/** Undefined where the first wildcard meets nothing that holds anything; a leaf is its own only leaf. */
function matchesOf(payload: unknown, steps: readonly Step[]): Match[] | undefined {
  let found: Match[] = [{ key: "", value: payload }];
  let wildcards = 0;
  for (const each of steps) {
    if (typeof each !== "symbol") {
      found = found.flatMap(({ key, value }) => {
        const inner = step(value, each);
        return inner === undefined ? [] : [{ key, value: inner }];
      });
      continue;
    }
    const first = wildcards++ === 0;
    if (each === ALL && first && entriesOf(found[0]?.value) === undefined) return undefined;
    found = found.flatMap((it) => each === ALL ? heldBy(it, first) : leavesOf(it, first));
  }
  return found;
}

function heldBy({ key: above, value }: Match, first: boolean): Match[] {
  const held = entriesOf(value) ?? [];
  return first ? held : held.map(({ key, value: inner }) => ({ key: `${above}.${key}`, value: inner }));
}

function leavesOf(it: Match, first: boolean): Match[] {
  if (entriesOf(it.value) === undefined) return [it];
  return heldBy(it, first).flatMap((inner) => leavesOf(inner, false));
}

function step(value: unknown, key: string | number): unknown {
  if (value === null || typeof value !== "object") return undefined;
  if (!Object.hasOwn(value, key) || (Array.isArray(value) && typeof key === "string")) return undefined;
  return (value as Record<string | number, unknown>)[key];
}
