/**
 * The topic filters to subscribe to, so that no message arrives twice because two filters overlap.
 *
 * A filter that another one covers is left out; two that overlap in part (`a/+` and `+/b`) are replaced by their least
 * common cover (`+/+`), which brings messages that no route wants: they are counted as unrouted.
 */
import { innerFilter, shareOf } from "./pattern.ts";

/**
 * Filters such that each topic matched by one of `wanted` is matched by exactly one: exactly one of each group of shared
 * subscriptions, and exactly one of those that are not shared.
 */
export function disjointFilters(wanted: readonly string[]): string[] {
  const groups = Map.groupBy(wanted, shareOf);
  return [...groups].flatMap(([share, filters]) => {
    if (share === undefined) return disjoint(filters);
    return disjoint(filters.map(innerFilter)).map((it) => `$share/${share}/${it}`);
  });
}

function disjoint(wanted: readonly string[]): string[] {
  const exact = new Set<string>();
  const wild = new FilterTree();
  for (const filter of new Set(wanted)) {
    const levels = filter.split("/");
    if (levels.some((it) => it === "+" || it === "#")) wild.join(levels);
    else exact.add(filter);
  }
  return [...wild.filters, ...[...exact].filter((topic) => !wild.overlapping(topic.split("/")))];
}

interface Node {
  /** By level; `+` and `#` are levels like others. */
  readonly children: Map<string, Node>;
  /** The filter that ends here. */
  filter: readonly string[] | undefined;
}

const node = (): Node => ({ children: new Map(), filter: undefined });

/** Filters that do not overlap, as a tree of levels, so that ten thousand of them are not compared pair by pair. */
class FilterTree {
  readonly #root = node();
  readonly #filters = new Set<string>();

  get filters(): Iterable<string> {
    return this.#filters;
  }

  /** Adds a filter, joined with all that it overlaps. */
  join(filter: readonly string[]): void {
    let joined = filter;
    for (let twin; (twin = this.overlapping(joined)) !== undefined;) {
      this.#at(twin).filter = undefined;
      this.#filters.delete(twin.join("/"));
      joined = cover(twin, joined);
    }
    this.#at(joined).filter = joined;
    this.#filters.add(joined.join("/"));
  }

  #at(levels: readonly string[]): Node {
    let at = this.#root;
    for (const level of levels) {
      let child = at.children.get(level);
      if (!child) at.children.set(level, child = node());
      at = child;
    }
    return at;
  }

  /** A filter in the tree for which a topic exists that both match. */
  overlapping(levels: readonly string[]): readonly string[] | undefined {
    return overlapping(this.#root, levels, 0);
  }
}

function overlapping(at: Node, levels: readonly string[], depth: number): readonly string[] | undefined {
  const level = levels[depth];
  // Topics that begin with $ are matched by no leading wildcard (MQTT 5 section 4.7.2).
  const hidden = depth === 0 && level.startsWith("$");
  const rest = hidden ? undefined : at.children.get("#")?.filter;
  if (rest || level === undefined) return rest ?? at.filter;
  if (level === "#" && at.filter) return at.filter;
  for (const child of childrenFor(at, level, depth === 0)) {
    const found = level === "#" ? anyBelow(child) : overlapping(child, levels, depth + 1);
    if (found) return found;
  }
  return undefined;
}

/** Where filters that overlap with `level` go on. */
function* childrenFor({ children }: Node, level: string, first: boolean): Generator<Node> {
  if (level === "+" || level === "#") {
    for (const [name, child] of children) if (!first || !name.startsWith("$")) yield child;
    return;
  }
  const literal = children.get(level);
  if (literal) yield literal;
  const one = first && level.startsWith("$") ? undefined : children.get("+");
  if (one) yield one;
}

function anyBelow(at: Node): readonly string[] | undefined {
  if (at.filter) return at.filter;
  for (const child of at.children.values()) {
    const found = anyBelow(child);
    if (found) return found;
  }
  return undefined;
}

/** The narrowest filter that matches all that `a` and `b` match. */
function cover(a: readonly string[], b: readonly string[]): string[] {
  const levels: string[] = [];
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    if (a[i] === "#" || b[i] === "#" || i >= a.length || i >= b.length) return [...levels, "#"];
    levels.push(a[i] === b[i] ? a[i] : "+");
  }
  return levels;
}
