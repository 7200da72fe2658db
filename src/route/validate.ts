/**
 * What only routing can know to be wrong with a route, each with its place inside of the route.
 */
import { compileColumn } from "./column.ts";
import { designProblems } from "./design.ts";
import { compileEach } from "./each.ts";
import { compileCondition } from "./expression.ts";
import { keepProblems } from "./keep.ts";
import { compileLayout } from "./layout.ts";
import type { RouteOptions } from "./options.ts";
import { parsePattern } from "./pattern.ts";
import { expandPreset, PRESET } from "./preset.ts";
import type { Scope } from "./source.ts";

export interface RouteProblem {
  readonly path: readonly (string | number)[];
  readonly message: string;
}

const TABLE_NAME_MAX = 64;

/**
 * All problems of one route; empty where it is good. The route may be one that a person wrote, before the schema has
 * filled it in: what is not even of the right type is the schema's business, and passed over here.
 */
export function validateRoute(route: RouteOptions): RouteProblem[] {
  return route.preset === undefined ? routeProblems(route) : presetProblems(route);
}

/** Problems of what the preset makes of the route, each once. The preset's own `when` is good, and would blur the message. */
function presetProblems(route: RouteOptions): RouteProblem[] {
  const { preset, layout, when } = route;
  if (!Object.hasOwn(PRESET, preset!)) return [];
  if (layout === "narrow" || layout === "json") {
    const message = `with a preset the layout can only be "latest": a row for each value, overwritten`;
    return [{ path: ["layout"], message }];
  }
  const problems = expandPreset(route).flatMap((it) => routeProblems({ ...it, when }))
    .map((it) => [JSON.stringify(it), it] as const);
  return [...new Map(problems).values()];
}

function routeProblems(route: RouteOptions): RouteProblem[] {
  const problems: RouteProblem[] = [];
  const attempt = (path: (string | number)[], action: () => void) => {
    try {
      action();
    } catch (error) {
      problems.push({ path, message: (error as Error).message });
    }
  };
  for (const key of ["topic", "table"] as const) {
    if (route[key] === undefined) {
      problems.push({ path: [], message: `a route needs "${key}"` });
    }
  }
  const { topic, table, each, when } = route;
  let levels: readonly string[] = [];
  if (isText(topic)) attempt(["topic"], () => levels = parsePattern(topic).names);
  if (isText(table)) attempt(["table"], () => assertTable(table, levels));
  const scope: Scope = { levels, each: each !== undefined };
  if (isText(each)) attempt(["each"], () => void compileEach(each));
  if (isText(when)) attempt(["when"], () => void compileCondition(when, scope));
  return [...problems, ...columnProblems(route, scope)];
}

const isText = (value: unknown): value is string => typeof value === "string";
const isObject = (value: unknown): value is object => typeof value === "object" && value !== null;

function columnProblems(route: RouteOptions, scope: Scope): RouteProblem[] {
  const problems: RouteProblem[] = [];
  for (const [name, column] of Object.entries(route.columns ?? {})) {
    if (!isText(column) && !isText(column?.value)) return problems;
    try {
      compileColumn(name, column, scope);
    } catch (error) {
      problems.push({ path: ["columns", name], message: (error as Error).message });
    }
  }
  if (problems.length > 0) return problems;
  try {
    // Good columns may still not go together.
    const layout = compileLayout(route, scope);
    problems.push(...designProblems(route, layout));
    const { onChange = [], deadband = {}, by = [] } = route.keep ?? {};
    if (!isObject(route.keep) || !isObject(deadband)) return problems;
    if (!Array.isArray(onChange) || !Array.isArray(by)) return problems;
    const ofKeep = keepProblems(route.keep, layout.columns);
    return [...problems, ...ofKeep.map(({ path, message }) => ({ path: ["keep", ...path], message }))];
  } catch (error) {
    return [{ path: ["layout"], message: (error as Error).message }];
  }
}

function assertTable(table: string, levels: readonly string[]): void {
  for (const [, name] of table.matchAll(/\{([^}]*)\}/g)) {
    if (!levels.includes(name)) throw new TypeError(`{${name}} in the table's name is not in the topic`);
  }
  if (table.replace(/\{[^}]*\}/g, "").length > TABLE_NAME_MAX) {
    throw new TypeError(`the table's name is longer than ${TABLE_NAME_MAX} characters`);
  }
  if (/[\0/\\.]/.test(table)) throw new TypeError("the table's name must not contain . / \\ or NUL");
}
