/**
 * What only routing can know to be wrong with a route, each with its place inside of the route.
 */
import { compileColumn } from "./column.ts";
import { compileEach } from "./each.ts";
import { compileCondition } from "./expression.ts";
import { compileLayout } from "./layout.ts";
import type { RouteOptions } from "./options.ts";
import { parsePattern } from "./pattern.ts";
import type { Scope } from "./source.ts";

export interface RouteProblem {
  readonly path: (string | number)[];
  readonly message: string;
}

const NOT_YET = ["preset", "keep"] as const;
const TABLE_NAME_MAX = 64;

/** All problems of one route; empty where it is good. */
export function validateRoute(route: RouteOptions): RouteProblem[] {
  const problems: RouteProblem[] = [];
  const attempt = (path: (string | number)[], action: () => void) => {
    try {
      action();
    } catch (error) {
      problems.push({ path, message: (error as Error).message });
    }
  };
  for (const key of NOT_YET) {
    if (route[key] !== undefined) problems.push({ path: [key], message: `"${key}" is not supported yet` });
  }
  for (const key of ["topic", "table"] as const) {
    if (route[key] === undefined && !route.preset) {
      problems.push({ path: [], message: `a route needs "${key}"` });
    }
  }
  let levels: readonly string[] = [];
  if (route.topic !== undefined) attempt(["topic"], () => levels = parsePattern(route.topic!).names);
  if (route.table !== undefined) attempt(["table"], () => assertTable(route.table!, levels));
  const scope: Scope = { levels, each: route.each !== undefined };
  if (route.each !== undefined) attempt(["each"], () => void compileEach(route.each!));
  if (route.when !== undefined) attempt(["when"], () => void compileCondition(route.when!, scope));
  const before = problems.length;
  for (const [name, column] of Object.entries(route.columns ?? {})) {
    attempt(["columns", name], () => void compileColumn(name, column, scope));
  }
  // Good columns may still not go together.
  if (problems.length === before) attempt(["layout"], () => void compileLayout(route, scope));
  return problems;
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
