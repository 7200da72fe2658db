/**
 * The topic filters to subscribe to, so that no message arrives twice because two filters overlap.
 *
 * A filter that another one covers is left out; two that overlap in part (`a/+` and `+/b`) are replaced by their least
 * common cover (`+/+`), which brings messages that no route wants: they are counted as unrouted.
 */

/** Filters such that each topic matched by one of `wanted` is matched by exactly one. */
export function disjointFilters(wanted: readonly string[]): string[] {
  const exact = new Set<string>();
  let wild: string[][] = [];
  for (const filter of new Set(wanted)) {
    const levels = filter.split("/");
    if (levels.some((it) => it === "+" || it === "#")) wild = add(wild, levels);
    else exact.add(filter);
  }
  const filters = wild.map((levels) => levels.join("/"));
  for (const topic of exact) {
    const levels = topic.split("/");
    if (!wild.some((filter) => overlap(filter, levels))) filters.push(topic);
  }
  return filters;
}

/** Adds a filter to filters that do not overlap, joining until that holds again. */
function add(disjoint: string[][], filter: string[]): string[][] {
  let joined = filter;
  let rest = disjoint;
  while (true) {
    const twin = rest.find((other) => overlap(other, joined));
    if (!twin) return [...rest, joined];
    rest = rest.filter((other) => other !== twin);
    joined = cover(twin, joined);
  }
}

/** True where a topic exists that both match. */
function overlap(a: readonly string[], b: readonly string[]): boolean {
  if (hidden(a) !== hidden(b)) return false;
  for (let i = 0;; i++) {
    if (a[i] === "#" || b[i] === "#") return true;
    if (i >= a.length || i >= b.length) {
      return a.length === b.length || (i >= a.length ? b : a)[i] === "#";
    }
    if (a[i] !== b[i] && a[i] !== "+" && b[i] !== "+") return false;
  }
}

/** Topics that begin with $ are matched by no leading wildcard (MQTT 5 section 4.7.2). */
const hidden = (levels: readonly string[]) => levels[0].startsWith("$");

/** The narrowest filter that matches all that `a` and `b` match. */
function cover(a: readonly string[], b: readonly string[]): string[] {
  const levels: string[] = [];
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    if (a[i] === "#" || b[i] === "#" || i >= a.length || i >= b.length) return [...levels, "#"];
    levels.push(a[i] === b[i] ? a[i] : "+");
  }
  return levels;
}
