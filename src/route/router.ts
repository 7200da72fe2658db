/**
 * The routes of a configuration, compiled: topics to addresses, deliveries to rows.
 *
 * What a topic means is found in a tree and kept (bounded), so that a message costs the same with ten routes and with
 * ten thousand. A payload that cannot be read or does not fit is a dead letter with its reason; nothing is thrown.
 */
import type { Decoded, KeptTable, MemoryChanges, Router } from "../contracts.ts";
import type { HourSpan } from "../hourly.ts";
import type { Address, DeadLetter, Delivery, Row, Shape, TableDesign } from "../message.ts";
import { mergeDesigns, type TableProblem, tableProblems } from "./design.ts";
import { disjointFilters } from "./filters.ts";
import { Hours } from "./hours.ts";
import { sequenceIn } from "./keep.ts";
import { RouteMemories } from "./memory.ts";
import type { RouteOptions } from "./options.ts";
import { matchPattern } from "./pattern.ts";
import { compileRoutes, type Route } from "./route.ts";
import { type OnTablesFull, tableName, Tables } from "./tables.ts";
import { TopicTrie } from "./topic_trie.ts";

export interface RouterOptions {
  readonly routes: readonly RouteOptions[];
  /** Value of `@gateway`. */
  readonly gateway: string;
  readonly memory?: ReadonlyMap<string, string>;
  /** How many tables may be made of one name with placeholders. @default 256 */
  readonly tablesMax?: number;
  /** Told, at each topic that is new to it, that a name with placeholders has as many tables as there may be. */
  readonly onTablesFull?: OnTablesFull;
}

const TOPICS_KEPT = 20_000;

/** What one topic means to one route. */
interface Target extends Route {
  readonly levels: readonly string[];
  readonly tableName: string;
  /** The table's name, unless that would be a table too many. */
  readonly lane: string;
}

/** What one topic means to all routes. */
interface Topic {
  readonly addresses: readonly Address[];
  readonly targets: readonly Target[];
}

export function createRouter(options: RouterOptions): Router {
  return new CompiledRouter(options);
}

class CompiledRouter implements Router {
  readonly filters: readonly string[];
  readonly #gateway: string;
  readonly #memories: RouteMemories;
  readonly #tables: Tables;
  readonly #hours: Hours;
  readonly #compiled: readonly Route[];
  readonly #routes = new TopicTrie<Route>();
  readonly #topics = new Map<string, Topic>();

  constructor({ routes, gateway, memory = new Map(), tablesMax, onTablesFull }: RouterOptions) {
    this.#gateway = gateway;
    this.#memories = new RouteMemories(memory);
    this.#tables = new Tables(this.#memories, tablesMax, onTablesFull);
    this.#hours = new Hours(memory);
    this.#compiled = compileRoutes(routes, this.#memories);
    for (const route of this.#compiled) this.#routes.add(route.pattern.levels, route);
    this.filters = disjointFilters(this.#compiled.map((it) => it.pattern.filter));
  }

  address(topic: string): readonly Address[] {
    return this.#topic(topic).addresses;
  }

  #topic(topic: string): Topic {
    let known = this.#topics.get(topic);
    if (!known) {
      const levels = topic.split("/");
      const targets = this.#routes.match(topic).map((route) => this.#targetOf(route, levels));
      const addresses = targets.map(({ id, lane }) => ({ lane, route: id }));
      if (this.#topics.size >= TOPICS_KEPT) this.#topics.clear();
      this.#topics.set(topic, known = { addresses, targets });
    }
    return known;
  }

  #targetOf(route: Route, topicLevels: readonly string[]): Target {
    const { pattern, table } = route;
    const levels = matchPattern(pattern, topicLevels)!;
    const name = tableName(table, pattern.names, levels);
    return { ...route, levels, tableName: name, lane: this.#tables.laneOf(table, name) };
  }

  decode(lane: string, deliveries: readonly Delivery[]): Decoded {
    const rows: Row[] = [];
    const dead: DeadLetter[] = [];
    let filtered = 0;
    for (const delivery of deliveries) {
      try {
        const made = this.#rowsOf(lane, delivery);
        if (made.length === 0) filtered++;
        else rows.push(...made);
      } catch (error) {
        dead.push({ ...delivery, lane, reason: (error as Error).message, errno: null });
      }
    }
    return { rows, dead, filtered, memory: this.#memories.changes() };
  }

  #rowsOf(lane: string, delivery: Delivery): Row[] {
    const { sequence, topic } = delivery;
    const target = this.#topic(topic).targets.find((it) => it.id === delivery.route);
    if (!target) throw new Error(`the route "${delivery.route}" is no longer in the configuration`);
    const { plan, design, memory, filters, levels, table, tableName } = target;
    // A lane of that name says that there is such a table already.
    if (target.lane !== tableName && lane !== tableName) {
      throw new Error(this.#tables.refusal(table, tableName));
    }
    this.#tables.confirm(table, tableName);
    if (plan.skipRetained && delivery.retain) return [];
    const payload = plan.decode(delivery.payload, { topic, memory });
    const shape = plan.shapeOf(tableName, design);
    return plan.rowsOf({ delivery, levels, payload, gateway: this.#gateway }, filters)
      .map((values) => ({ sequence, shape, values }));
  }

  remember(
    { rows, memory }: Decoded,
    refused: { has(sequence: number): boolean; readonly size: number },
  ): MemoryChanges {
    for (const { shape, values, sequence } of rows) {
      if (shape.design?.hourly && !refused.has(sequence)) {
        this.#hours.note(
          shape.table,
          values[shape.columns.findIndex((it) => it.name === shape.design!.time)],
        );
      }
    }
    const kept = refused.size === 0
      ? memory
      : this.#memories.withoutRefused(memory, (value) => refused.has(sequenceIn(value)));
    return [...kept, ...this.#hours.changes()];
  }

  get kept(): readonly KeptTable[] {
    const isKept = ({ retentionMs, hourly }: TableDesign) => retentionMs !== undefined || hourly;
    if (!this.#compiled.some(({ design }) => isKept(design))) return [];
    const wanted = new Map<string, Set<TableDesign>>();
    for (const { table: template, design } of this.#compiled) {
      for (const table of this.#tables.of(template)) {
        const designs = wanted.get(table);
        if (designs) designs.add(design);
        else wanted.set(table, new Set([design]));
      }
    }
    return [...wanted].map(([table, designs]) => ({ table, design: mergeDesigns([...designs]) }))
      .filter(({ design }) => isKept(design));
  }

  takeHours(table: string): readonly HourSpan[] {
    return this.#hours.take(table);
  }

  returnHours(table: string, hours: readonly HourSpan[]): void {
    this.#hours.return(table, hours);
  }
}

/** The tables that routes write to, with their columns. Placeholders in a table's name stay as they are. */
export function shapesOf(routes: readonly RouteOptions[]): Shape[] {
  return compileRoutes(routes, new RouteMemories()).map(({ plan, table, design }) =>
    plan.shapeOf(table, design)
  );
}

/** What is wrong with good routes only because they share a table. `duration`: how one is written for people. */
export function routesProblems(
  routes: readonly RouteOptions[],
  duration: (ms: number) => string,
): TableProblem[] {
  const alone = compileRoutes(routes, new RouteMemories()).map(({ table, plan }) => ({
    table,
    design: plan.design,
  }));
  return tableProblems(alone, duration);
}
