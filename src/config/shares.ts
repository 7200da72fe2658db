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
  const subscriptions = disjointFilters(all.map(({ filter }) => filter))
    .map((filter) => ({ filter, levels: levelsOf(filter), share: shareOf(filter) }));
  const groups = new Set(all.map(({ share }) => share));
  const others = new Map([...groups].map((it) => [it, subscriptions.filter(({ share }) => share !== it)]));
  return all.flatMap(({ text, filter, share }, route) => {
    if (share === undefined) return [];
    const levels = levelsOf(filter);
    const other = others.get(share)!.find((it) => relationOf(it.levels, levels) !== "apart");
    if (!other) return [];
    const message = `what "${text}" takes is also subscribed to by "${other.filter}", which is ${
      other.share === undefined ? "not shared" : `shared in the group "${other.share}"`
    }: each such message comes twice`;
    return [{ route, path: ["topic"], message }];
  });
}

const levelsOf = (filter: string) => innerFilter(filter).split("/");
