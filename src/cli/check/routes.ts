/**
 * Routes beside each other: those that store a message twice in one table; and those that share what they compare.
 */
import type { RouteOptions } from "../../route/options.ts";
import { innerFilter, parsePattern, shareOf } from "../../route/pattern.ts";
import { relationOf } from "../../route/relation.ts";
import type { FileReport } from "./report.ts";

/** So many pairs are compared; with more, only those whose topics begin alike. */
const PAIRS_MAX = 500_000;

interface Entry {
  readonly index: number;
  readonly route: RouteOptions;
  readonly levels: readonly string[];
  /** All that decides what row is made of a message. */
  readonly row: string;
}

export function checkRoutes(report: FileReport): void {
  const tables = new Map<string, Entry[]>();
  for (const [index, route] of report.loaded.config.routes.entries()) {
    const { topic, table, family: _family, ...rest } = route;
    const levels = innerFilter(parsePattern(topic!).filter).split("/");
    if (shareOf(topic!) !== undefined && route.keep) {
      report.atRoute(index, {
        severity: "warning",
        code: "shared-keep",
        message:
          "keep compares each message with the last one, but of a shared subscription each gateway sees only its part",
        fix: "leave keep out, or subscribe unshared in one gateway",
      });
    }
    const entries = tables.get(table!) ?? [];
    entries.push({ index, route, levels, row: JSON.stringify(rest) });
    tables.set(table!, entries);
  }
  for (const entries of tables.values()) {
    for (const [one, other] of pairs(entries)) compare(report, one, other);
  }
}

function* pairs(entries: readonly Entry[]): Generator<[Entry, Entry]> {
  const isMany = entries.length * entries.length / 2 > PAIRS_MAX;
  const groups = isMany
    ? [...Map.groupBy(entries, (it) => it.levels.slice(0, -1).join("/")).values()]
    : [entries];
  let left = PAIRS_MAX;
  for (const group of groups) {
    for (const [i, other] of group.entries()) {
      for (const one of group.slice(0, i)) if (left-- > 0) yield [one, other];
    }
  }
}

function compare(report: FileReport, one: Entry, other: Entry): void {
  const { madeFrom } = report.loaded;
  // What a preset does it means.
  if (madeFrom[one.index] === madeFrom[other.index]) return;
  // What is overwritten is not doubled.
  if (
    [one, other].some(({ route }) =>
      route.layout === "latest" || (route.onDuplicateKey ?? "error") !== "error"
    )
  ) {
    return;
  }
  const relation = relationOf(one.levels, other.levels);
  if (relation === "apart") return;
  // Two conditions may well exclude each other.
  if (one.route.when !== undefined && other.route.when !== undefined && one.route.when !== other.route.when) {
    return;
  }
  const isSame = one.row === other.row;
  const first = `routes[${madeFrom[one.index]}]`;
  const { table } = other.route;
  const what = {
    same: `${first} takes the same topics to the table ${table}`,
    wider: `${first} takes all topics of this route to the table ${table} as well`,
    narrower: `this route takes all topics of ${first} to the table ${table} as well`,
    crossing: `${first} takes some topics of this route to the table ${table} as well`,
  }[relation];
  // One topic and several rows, each with other columns, is how a table with a row for each value is filled by hand.
  const isMeant = !isSame && (relation === "same" || relation === "crossing");
  report.atRoute(other.index, {
    severity: isMeant ? "note" : "warning",
    code: isSame ? "duplicate-route" : "shadowed-route",
    message: `${what}: each such message makes ${isSame ? "the same row twice" : "two rows there"}`,
    fix: isMeant ? undefined : 'remove one of them, give one another table, or tell them apart with "when"',
  });
}
