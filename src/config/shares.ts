/**
 * Shared subscriptions beside others: the broker sends a message once for each group and once for each subscription that
 * is not shared, but a message does not say for which. A route takes it whichever way it came, so that it would be stored
 * twice: such routes are refused.
 */
import { disjointFilters } from "../route/filters.ts";
import type { RouteOptions } from "../route/options.ts";
import { innerFilter, parsePattern, shareOf } from "../route/pattern.ts";
import { relationOf } from "../route/relation.ts";

export interface ShareProblem {
  /** Index of the route. */
  readonly route: number;
  readonly path: readonly string[];
  readonly message: string;
}

/** The routes must be good ones. */
export function shareProblems(routes: readonly RouteOptions[]): ShareProblem[] {
  const all = routes.map(({ topic }) => parsePattern(topic!));
  if (all.every(({ share }) => share === undefined)) return [];
  // What is subscribed to may be wider than what the routes want.
  const subscriptions = disjointFilters(all.map(({ filter }) => filter));
  return all.flatMap(({ text, filter, share }, route) => {
    if (share === undefined) return [];
    const other = subscriptions.find((it) =>
      shareOf(it) !== share && relationOf(levelsOf(it), levelsOf(filter)) !== "apart"
    );
    if (other === undefined) return [];
    const message = `what "${text}" takes is also subscribed to by "${other}", which is ${
      asWhat(other)
    }: each such message comes twice`;
    return [{ route, path: ["topic"], message }];
  });
}

const levelsOf = (filter: string) => innerFilter(filter).split("/");

function asWhat(filter: string): string {
  const share = shareOf(filter);
  return share === undefined ? "not shared" : `shared in the group "${share}"`;
}
