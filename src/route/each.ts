/**
 * `each`: one payload as several elements, each of which makes a row. A path to an array or an object means all that it
 * holds; a path with wildcards means all that they lead to. Missing means none.
 */
import { UnfitError } from "./unfit_error.ts";
import { compilePath, compileWildcard, entriesOf, type Match } from "./path.ts";

/** One message must not become more rows than one transaction should hold. */
const ELEMENTS_MAX = 10_000;

/** Throws `TypeError` for a path that cannot be read; what it returns throws `UnfitError`. */
export function compileEach(path: string): (payload: unknown) => readonly Match[] {
  const find = compileWildcard(path) ?? heldBy(path);
  return (payload) => {
    const elements = find(payload);
    if (elements.length > ELEMENTS_MAX) {
      throw new UnfitError(`each: ${path} has ${elements.length} elements, more than ${ELEMENTS_MAX}`);
    }
    return elements;
  };
}

function heldBy(path: string): (payload: unknown) => readonly Match[] {
  const read = compilePath(path);
  return (payload) => {
    const value = read(payload);
    if (value === undefined || value === null) return [];
    const elements = entriesOf(value);
    if (!elements) throw new UnfitError(`each: ${path} is neither an array nor an object`);
    return elements;
  };
}
