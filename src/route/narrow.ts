/**
 * The narrow layout: a row (name, value) for each value that a message brings, beside what all of them share.
 *
 * Shared are columns with `@...`, `{level}` or a `time`; every other column of the route becomes rows: under its own
 * name, or, if its path has wildcards, under the keys that they stand for. What is missing or NULL makes no row.
 * Without columns in the configuration all numbers, texts and truth values of the payload are taken.
 */
import type { RowColumn, SqlValue } from "../message.ts";
import { type Column, compileColumn, compileFit } from "./column.ts";
import type { ColumnOptions } from "./options.ts";
import { compileWildcard, entriesOf } from "./path.ts";
import type { Scope, Source } from "./source.ts";
import { UnfitError } from "./unfit_error.ts";

type Named = readonly [name: string, value: SqlValue];

/** Adds a source's values. */
type Reader = (source: Source, found: Named[]) => void;

/** One message must not become more rows than one transaction should hold. */
const VALUES_MAX = 10_000;
const DEPTH_MAX = 32;

/** Takes any number and any text as it is. */
const ANY_VALUE = "text";

/** `all`: take every value of the payload. Throws `TypeError` for what cannot be. */
export function compileNarrow(
  columns: Readonly<Record<string, string | ColumnOptions>>,
  all: boolean,
  scope: Scope,
): { columns: RowColumn[]; nameAt: number; rows: (source: Source) => SqlValue[][] } {
  const shared: Column[] = [];
  const readers: Reader[] = all ? [leaves()] : [];
  const types = new Set<string | undefined>(all ? [ANY_VALUE] : []);
  const units = new Set<string | undefined>();
  for (const [name, given] of Object.entries(columns)) {
    const options = typeof given === "string" ? { value: given } : given;
    const column = compileColumn(name, options, scope);
    if (/^[@{]/.test(options.value) || options.time) {
      if (name === "name" || name === "value") {
        throw new TypeError(
          `the layout "narrow" has a column "${name}" of its own: call this one differently`,
        );
      }
      shared.push(column);
    } else {
      readers.push(valuesOf(name, options, column));
      types.add(column.row.type);
      units.add(column.row.unit);
    }
  }
  if (types.size > 1) {
    const given = [...types].map((it) => it ?? "none").join(", ");
    throw new TypeError(
      `the layout "narrow" has one column for all values: give them one type, not ${given}`,
    );
  }
  if (readers.length === 0) throw new TypeError(`the layout "narrow" needs a column with a value`);
  const [type] = types;
  const [unit] = units.size === 1 ? units : [];
  return {
    columns: [
      ...shared.map((it) => it.row),
      { name: "name", type: "varchar(255)", role: "level" },
      { name: "value", type, role: "value", ...(unit !== undefined && { unit }) },
    ],
    nameAt: shared.length,
    rows: (source) => {
      const found: Named[] = [];
      for (const read of readers) read(source, found);
      if (found.length > VALUES_MAX) {
        throw new UnfitError(`the payload has ${found.length} values, more than ${VALUES_MAX}`);
      }
      if (found.length === 0) return [];
      const beside = shared.map((it) => it.read(source));
      return found.map((it) => [...beside, ...it]);
    },
  };
}

function valuesOf(name: string, options: ColumnOptions, column: Column): Reader {
  const wildcard = options.value.startsWith("$") ? compileWildcard(options.value) : undefined;
  if (!wildcard) return (source, found) => push(found, name, column.read(source));
  const { fit } = compileFit(name, options);
  return ({ element }, found) => {
    for (const { key, value } of wildcard(element)) push(found, String(key), fit(() => value));
  };
}

/** Every number, text and truth value, under its keys joined by points; a payload that is one itself as `value`. */
function leaves(): Reader {
  const { fit } = compileFit("value", { value: "$", type: ANY_VALUE });
  const walk = (value: unknown, name: string, found: Named[], depth: number): void => {
    const entries = entriesOf(value);
    if (!entries) return push(found, name || "value", fit(() => value));
    if (depth === DEPTH_MAX) throw new UnfitError(`the payload is nested more than ${DEPTH_MAX} levels deep`);
    for (const { key, value: inner } of entries) {
      walk(inner, name === "" ? String(key) : `${name}.${key}`, found, depth + 1);
    }
  };
  return ({ element }, found) => walk(element, "", found, 0);
}

function push(found: Named[], name: string, value: SqlValue): void {
  if (value !== null) found.push([name, value]);
}
