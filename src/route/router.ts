/**
 * The routes of a configuration, compiled: topics to addresses, deliveries to rows.
 *
 * What a topic means is found in a tree and kept (bounded), so that a message costs the same with ten routes and with
 * ten thousand. A payload that cannot be read or does not fit is a dead letter with its reason; nothing is thrown.
 */
import type { Decoded, Router } from "../contracts.ts";
import type { Address, DeadLetter, Delivery, Row, Shape } from "../message.ts";
import { disjointFilters } from "./filters.ts";
import { RouteMemories } from "./memory.ts";
import type { RouteOptions } from "./options.ts";
import { matchPattern } from "./pattern.ts";
import { compileRoutes, type Route } from "./route.ts";
import { TopicTrie } from "./topic_trie.ts";

export interface RouterOptions {
  readonly routes: readonly RouteOptions[];
  /** Value of `@gateway`. */
  readonly gateway: string;
  readonly memory?: ReadonlyMap<string, string>;
}

const TOPICS_KEPT = 20_000;

/** What one topic means to one route. */
interface Target extends Pick<Route, "id" | "plan" | "memory"> {
  readonly levels: readonly string[];
  readonly shape: Shape;
}

/** What one topic means to all routes. */
interface Topic {
  readonly addresses: readonly Address[];
  readonly targets: readonly Target[];
}

export function createRouter({ routes, gateway, memory }: RouterOptions): Router {
  return new CompiledRouter(routes, gateway, new RouteMemories(memory));
}

class CompiledRouter implements Router {
  readonly filters: readonly string[];
  readonly #gateway: string;
  readonly #memories: RouteMemories;
  readonly #routes = new TopicTrie<Route>();
  readonly #topics = new Map<string, Topic>();

  constructor(routes: readonly RouteOptions[], gateway: string, memories: RouteMemories) {
    this.#gateway = gateway;
    this.#memories = memories;
    const compiled = compileRoutes(routes, memories);
    for (const route of compiled) this.#routes.add(route.pattern.levels, route);
    this.filters = disjointFilters(compiled.map((it) => it.pattern.filter));
  }

  address(topic: string): readonly Address[] {
    return this.#topic(topic).addresses;
  }

  #topic(topic: string): Topic {
    let known = this.#topics.get(topic);
    if (!known) {
      const levels = topic.split("/");
      const targets = this.#routes.match(topic).map((route) => targetOf(route, levels));
      const addresses = targets.map(({ id, shape }) => ({ lane: shape.table, route: id }));
      if (this.#topics.size >= TOPICS_KEPT) this.#topics.clear();
      this.#topics.set(topic, known = { addresses, targets });
    }
    return known;
  }

  decode(lane: string, deliveries: readonly Delivery[]): Decoded {
    const rows: Row[] = [];
    const dead: DeadLetter[] = [];
    let filtered = 0;
    for (const delivery of deliveries) {
      try {
        const made = this.#rowsOf(delivery);
        if (made.length === 0) filtered++;
        else rows.push(...made);
      } catch (error) {
        dead.push({ ...delivery, lane, reason: (error as Error).message, errno: null });
      }
    }
    return { rows, dead, filtered, memory: this.#memories.changes() };
  }

  #rowsOf(delivery: Delivery): Row[] {
    const { sequence, topic } = delivery;
    const target = this.#topic(topic).targets.find((it) => it.id === delivery.route);
    if (!target) throw new Error(`the route "${delivery.route}" is no longer in the configuration`);
    const { plan, memory, levels, shape } = target;
    if (plan.skipRetained && delivery.retain) return [];
    const payload = plan.decode(delivery.payload, { topic, memory });
    return plan.rowsOf({ delivery, levels, payload, gateway: this.#gateway })
      .map((values) => ({ sequence, shape, values }));
  }
}

function targetOf({ id, pattern, plan, memory, table }: Route, topicLevels: readonly string[]): Target {
  const levels = matchPattern(pattern, topicLevels)!;
  return { id, plan, memory, levels, shape: plan.shapeOf(tableName(table, pattern.names, levels)) };
}

const TABLE_NAME_MAX = 64;

/** The table's name with its placeholders filled in, as a name that needs no thought: letters, digits, _ $ and -. */
function tableName(template: string, names: readonly string[], levels: readonly string[]): string {
  if (!template.includes("{")) return template;
  return template.replace(
    /\{(\w+)\}/g,
    (_, name: string) => levels[names.indexOf(name)].replace(/[^\w$-]/g, "_"),
  ).slice(0, TABLE_NAME_MAX);
}

/** The tables that routes write to, with their columns. Placeholders in a table's name stay as they are. */
export function shapesOf(routes: readonly RouteOptions[]): Shape[] {
  return compileRoutes(routes, new RouteMemories()).map(({ plan, table }) => plan.shapeOf(table));
}
