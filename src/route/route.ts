/**
 * One route, compiled: what becomes of a payload on its way to rows.
 *
 * What does not depend on topic and table is a `Plan`. Routes that say the same share it, so that ten thousand routes
 * for ten thousand like devices stay small, and so that their rows share one shape and go to the database together.
 */
import { DECODER, type Decoder, type Memory } from "../decode/mod.ts";
import type { Shape, SqlValue, TableDesign } from "../message.ts";
import { compileDesign, mergeDesigns } from "./design.ts";
import { compileEach } from "./each.ts";
import { compileCondition } from "./expression.ts";
import { Keep, type Remember } from "./keep.ts";
import { compileLayout, type Layout } from "./layout.ts";
import type { RouteMemories } from "./memory.ts";
import type { RouteOptions } from "./options.ts";
import { parsePattern, type TopicPattern } from "./pattern.ts";
import type { Scope, Source } from "./source.ts";

export interface Route {
  /** Topic and table, numbered where that is not enough; it stays the same when columns are changed. */
  readonly id: string;
  readonly pattern: TopicPattern;
  /** The table's name, perhaps with placeholders. */
  readonly table: string;
  readonly plan: Plan;
  /** The table as all routes to it want it. */
  readonly design: TableDesign;
  /** What the decoder remembers. */
  readonly memory: Memory;
  /** What the filters remember. */
  readonly filters: Memory;
}

/** A message whose payload is decoded. */
export type Message = Omit<Source, "element" | "key">;

export class Plan {
  readonly decode: Decoder;
  readonly skipRetained: boolean;
  /** The table as this route alone wants it. */
  readonly design: TableDesign;
  readonly #layout: Layout;
  readonly #each: ReturnType<typeof compileEach> | undefined;
  readonly #when: ReturnType<typeof compileCondition> | undefined;
  readonly #keep: Keep | undefined;
  /** Where the columns of `keep.by` lie. */
  readonly #by: readonly number[] | undefined;
  readonly #shapes = new Map<string, Shape>();

  constructor(options: RouteOptions, pattern: TopicPattern) {
    const scope: Scope = { levels: pattern.names, each: options.each !== undefined };
    this.decode = DECODER[options.decode ?? "auto"]!;
    this.skipRetained = options.retained === "skip";
    this.#layout = compileLayout(options, scope);
    this.design = compileDesign(options, this.#layout, pattern);
    this.#each = options.each === undefined ? undefined : compileEach(options.each);
    this.#when = options.when === undefined ? undefined : compileCondition(options.when, scope);
    this.#keep = options.keep && new Keep(options.keep, this.#layout.columns);
    this.#by = options.keep?.by?.map((name) => this.#layout.columns.findIndex((it) => it.name === name));
  }

  shapeOf(table: string, design: TableDesign): Shape {
    let shape = this.#shapes.get(table);
    if (!shape) {
      const { columns, key, onDuplicateKey } = this.#layout;
      this.#shapes.set(table, shape = { table, columns, key, onDuplicateKey, design });
    }
    return shape;
  }

  /** The rows of a message; none where the filters leave all of it out. Throws `UnfitError`, and then remembers nothing. */
  rowsOf(message: Message, memory: Memory): SqlValue[][] {
    const elements = this.#each?.(message.payload) ?? [{ key: undefined, value: message.payload }];
    const rows: SqlValue[][] = [];
    const remember: Remember[] = [];
    for (const { key, value } of elements) {
      const source: Source = { ...message, element: value, key };
      if (this.#when && !this.#when(source)) continue;
      for (const values of this.#layout.rows(source)) {
        if (this.#keep) {
          const admitted = this.#keep.admit(memory, this.#rowKey(source, values), values, message.delivery);
          if (!admitted) continue;
          remember.push(admitted);
        }
        rows.push(values);
      }
    }
    for (const each of remember) each();
    return rows;
  }

  /** What tells the rows apart that are compared with each other. */
  #rowKey({ delivery, key }: Source, values: readonly SqlValue[]): string {
    if (this.#by) return JSON.stringify(this.#by.map((at) => String(values[at])));
    const { nameAt } = this.#layout;
    if (key === undefined && nameAt === undefined) return delivery.topic;
    return JSON.stringify([delivery.topic, key, nameAt === undefined ? null : values[nameAt]]);
  }
}

export function compileRoutes(routes: readonly RouteOptions[], memories: RouteMemories): Route[] {
  const counts = new Map<string, number>();
  const plans = new Map<string, Plan>();
  const compiled = routes.map((options) => {
    const { topic, table, family, ...rest } = options;
    const base = `${family === undefined ? "" : `${family}: `}${topic} -> ${table}`;
    const count = (counts.get(base) ?? 0) + 1;
    counts.set(base, count);
    const id = count === 1 ? base : `${base} #${count}`;
    const pattern = parsePattern(topic!);
    const said = JSON.stringify([pattern.names, pattern.anonymous, table!.includes("{"), family, rest]);
    let plan = plans.get(said);
    if (!plan) plans.set(said, plan = new Plan(options, pattern));
    return { id, pattern, table: table!, plan, memory: memories.of(id), filters: memories.filtersOf(id) };
  });
  const designs = designsOf(compiled);
  return compiled.map((route) => ({ ...route, design: designs.get(route.table)! }));
}

/** Of each table, by its name as the routes write it. */
function designsOf(
  routes: readonly { readonly table: string; readonly plan: Plan }[],
): Map<string, TableDesign> {
  const wanted = new Map<string, Set<TableDesign>>();
  for (const { table, plan } of routes) {
    const designs = wanted.get(table);
    if (designs) designs.add(plan.design);
    else wanted.set(table, new Set([plan.design]));
  }
  return new Map([...wanted].map(([table, designs]) => [table, mergeDesigns([...designs])]));
}
