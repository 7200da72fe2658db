/**
 * Paths into a payload: `$`, `$.a.b`, `$["switch:0"].apower`, `$.list[0].x`. Compiled once; missing is undefined.
 *
 * Only own properties are seen, so that a key like `__proto__` is a key like any other.
 */
export type Reader = (payload: unknown) => unknown;

const STEP = /\.([A-Za-z_$][\w$-]*)|\[(\d+)\]|\[("(?:[^"\\]|\\.)*")\]|\['((?:[^'\\]|\\.)*)'\]/y;

/** The keys of a path. Throws `TypeError` that points at what cannot be read. */
export function parsePath(text: string): (string | number)[] {
  if (!text.startsWith("$")) throw new TypeError(`the path "${text}" must begin with $`);
  const keys: (string | number)[] = [];
  STEP.lastIndex = 1;
  while (STEP.lastIndex < text.length) {
    const at = STEP.lastIndex;
    const step = STEP.exec(text);
    if (!step) {
      throw new TypeError(
        `the path "${text}" cannot be read from "${text.slice(at)}" on: write $.key, $["any key"] or $[0]`,
      );
    }
    keys.push(
      step[1] ??
        (step[2] !== undefined ? Number(step[2]) : step[3] !== undefined ? JSON.parse(step[3]) : step[4]),
    );
  }
  return keys;
}

export function compilePath(text: string): Reader {
  const keys = parsePath(text);
  if (keys.length === 0) return (payload) => payload;
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

function step(value: unknown, key: string | number): unknown {
  if (value === null || typeof value !== "object" || !Object.hasOwn(value, key)) return undefined;
  return (value as Record<string | number, unknown>)[key];
}
