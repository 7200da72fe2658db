/**
 * A route as a person would write it into the configuration: a line for each key, and in `columns` a line for each
 * column. Pure.
 */
import type { RouteOptions } from "../route/options.ts";

/** The text of a route; every line but the first begins with `indent`. */
export function routeText(route: RouteOptions, indent = "", unit = "  "): string {
  const inner = indent + unit;
  const lines = Object.entries(route).filter(([, value]) => value !== undefined).map(([key, value]) =>
    `${inner}${JSON.stringify(key)}: ${key === "columns" ? columnsText(value, inner, unit) : inline(value)}`
  );
  return `{\n${lines.join(",\n")}\n${indent}}`;
}

function columnsText(columns: NonNullable<RouteOptions["columns"]>, indent: string, unit: string): string {
  const lines = Object.entries(columns).map(([name, column]) =>
    `${indent}${unit}${JSON.stringify(name)}: ${inline(column)}`
  );
  return `{\n${lines.join(",\n")}\n${indent}}`;
}

/** JSON on one line, with room to breathe. */
function inline(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(inline).join(", ")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const inside = Object.entries(value).map(([key, it]) => `${JSON.stringify(key)}: ${inline(it)}`);
  return inside.length === 0 ? "{}" : `{ ${inside.join(", ")} }`;
}
