/**
 * A route as a person would write it into the configuration: a line for each key, and in `columns` a line for each
 * column. Pure.
 */
import type { RouteOptions } from "../route/options.ts";

/** The text of a route; every line but the first begins with `indent`. */
export function routeText(route: RouteOptions, indent = "", unit = "  "): string {
  const inner = indent + unit;
  const lines = Object.entries(route).filter(([, value]) => value !== undefined).map(([key, value]) =>
    `${inner}${json(key)}: ${key === "columns" ? columnsText(value, inner, unit) : inline(value)}`
  );
  return `{\n${lines.join(",\n")}\n${indent}}`;
}

function columnsText(columns: NonNullable<RouteOptions["columns"]>, indent: string, unit: string): string {
  const lines = Object.entries(columns).map(([name, column]) =>
    `${indent}${unit}${json(name)}: ${inline(column)}`
  );
  return `{\n${lines.join(",\n")}\n${indent}}`;
}

/** JSON on one line, with room to breathe. */
function inline(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(inline).join(", ")}]`;
  if (value === null || typeof value !== "object") return json(value);
  const inside = Object.entries(value).map(([key, it]) => `${json(key)}: ${inline(it)}`);
  return inside.length === 0 ? "{}" : `{ ${inside.join(", ")} }`;
}

/** JSON without any control character: beside those that it must not hold there are some that a terminal obeys. */
function json(value: unknown): string {
  return JSON.stringify(value).replace(/[\x7f-\x9f]/g, (it) => `\\u00${it.charCodeAt(0).toString(16)}`);
}
