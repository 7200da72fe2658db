/**
 * How what a message brings lies in a table: a column for each value (wide), a row for each value (narrow), the payload
 * as JSON, or one row for each topic that is overwritten (latest).
 */
import type { OnDuplicateKey, RowColumn, SqlValue } from "../message.ts";
import { type Column, compileColumn } from "./column.ts";
import { compileNarrow } from "./narrow.ts";
import type { ColumnOptions, Layout as LayoutName, RouteOptions } from "./options.ts";
import type { Scope, Source } from "./source.ts";

export interface Layout {
  readonly columns: readonly RowColumn[];
  /** Columns of the primary key of a table that is made; empty: an `id` of its own. */
  readonly key: readonly string[];
  readonly onDuplicateKey: OnDuplicateKey;
  /** Where a row has the name of its value, if it has one value with a name. */
  readonly nameAt?: number;
  /** The rows of one payload or, under `each`, of one element. Throws `UnfitError`. */
  rows(source: Source): SqlValue[][];
}

type Columns = Readonly<Record<string, string | ColumnOptions>>;

const WIDE: Columns = {
  received_at: "@received",
  topic: "@topic",
  payload: "@payload",
  qos: "@qos",
  retained: "@retain",
};
const STAMP: Columns = { received_at: "@received", topic: "@topic" };

/** Throws `TypeError` for what cannot be. */
export function compileLayout(route: RouteOptions, scope: Scope): Layout {
  const { layout = "wide", key } = route;
  const compiled = compileAs(layout, route, scope);
  if (key === undefined) return compiled;
  if (layout === "latest") throw new TypeError(`the layout "latest" has a key of its own`);
  const missing = key.find((name) => !compiled.columns.some((it) => it.name === name));
  if (missing === undefined) return { ...compiled, key };
  const names = compiled.columns.map((it) => it.name).join(", ");
  throw new TypeError(`"${missing}" in "key" is no column of this route, which has ${names}`);
}

function compileAs(layout: LayoutName, route: RouteOptions, scope: Scope): Layout {
  const { columns, onDuplicateKey = "error" } = route;
  switch (layout) {
    case "narrow":
      return { ...compileNarrow(columns ?? STAMP, columns === undefined, scope), key: [], onDuplicateKey };
    case "json": {
      const all = columns ?? STAMP;
      const payload = { payload: { value: "$", type: "json" } };
      return { ...wide("payload" in all ? all : { ...all, ...payload }, scope), onDuplicateKey };
    }
    case "latest":
      if (route.onDuplicateKey !== undefined && onDuplicateKey !== "update") {
        throw new TypeError(`the layout "latest" overwrites its rows: "onDuplicateKey" can only be "update"`);
      }
      return { ...latest(columns ?? WIDE, scope), onDuplicateKey: "update" };
    default:
      return { ...wide(columns ?? WIDE, scope), onDuplicateKey };
  }
}

function wide(columns: Columns, scope: Scope): Omit<Layout, "onDuplicateKey"> {
  const compiled = compileColumns(columns, scope);
  return {
    columns: compiled.map((it) => it.row),
    key: [],
    rows: (source) => [compiled.map((it) => it.read(source))],
  };
}

/** One row for each topic and, under `each`, for each key. */
function latest(columns: Columns, scope: Scope): Omit<Layout, "onDuplicateKey"> {
  const all: Record<string, string | ColumnOptions> = { ...columns };
  const keyOf = (value: string, name: string): string => {
    const found = Object.entries(all).find(([, it]) => (typeof it === "string" ? it : it.value) === value);
    if (found) return found[0];
    if (name in all) {
      throw new TypeError(`the layout "latest" needs a column with ${value}; "${name}" is another one`);
    }
    all[name] = value;
    return name;
  };
  const key = [keyOf("@topic", "topic"), ...scope.each ? [keyOf("@key", "key")] : []];
  return { ...wide(all, scope), key };
}

function compileColumns(columns: Columns, scope: Scope): Column[] {
  return Object.entries(columns).map(([name, column]) => compileColumn(name, column, scope));
}
