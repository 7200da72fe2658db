/**
 * What only routing can know to be wrong with a route, each with its place inside of the route.
 */
import { compileColumn } from "./column.ts";
import type { RouteOptions } from "./options.ts";
import { parsePattern } from "./pattern.ts";

export interface RouteProblem {
  readonly path: (string | number)[];
  readonly message: string;
}

const NOT_YET = ["preset", "each", "when", "keep", "layout"] as const;

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
  if (route.topic === undefined && !route.preset) {
    problems.push({ path: [], message: `a route needs "topic"` });
  }
  if (route.table === undefined && !route.preset) {
    problems.push({ path: [], message: `a route needs "table"` });
  }
  let names: readonly string[] = [];
  if (route.topic !== undefined) attempt(["topic"], () => names = parsePattern(route.topic!).names);
  if (route.table !== undefined) {
    attempt(["table"], () => {
      for (const [, name] of route.table!.matchAll(/\{([^}]*)\}/g)) {
        if (!names.includes(name)) throw new TypeError(`{${name}} in the table's name is not in the topic`);
      }
      if (route.table!.replace(/\{[^}]*\}/g, "").length > 64) {
        throw new TypeError("the table's name is longer than 64 characters");
      }
      if (/[\0/\\.]/.test(route.table!)) {
        throw new TypeError("the table's name must not contain . / \\ or NUL");
      }
    });
  }
  for (const [name, column] of Object.entries(route.columns ?? {})) {
    attempt(["columns", name], () => void compileColumn(name, column, names));
  }
  return problems;
}
