/**
 * The routes of a configuration, compiled: topics to addresses, deliveries to rows.
 *
 * What a topic means is found in a tree and kept (bounded), so that a message costs the same with ten routes and with
 * ten thousand. A payload that cannot be read or does not fit is a dead letter with its reason; nothing is thrown.
 */
import type { Decoded, Router } from "../contracts.ts";
import { DECODER, type Decoder, type Memory } from "../decode/mod.ts";
import type { Address, DeadLetter, Delivery, Row, Shape, SqlValue } from "../message.ts";
import { type Column, compileColumn } from "./column.ts";
import { disjointFilters } from "./filters.ts";
import { RouteMemories } from "./memory.ts";
import type { RouteOptions } from "./options.ts";
import { matchPattern, parsePattern, type TopicPattern } from "./pattern.ts";
import { TopicTrie } from "./topic_trie.ts";

export interface RouterOptions {
  readonly routes: readonly RouteOptions[];
  /** Value of `@gateway`. */
  readonly gateway: string;
  readonly memory?: ReadonlyMap<string, string>;
}

const TOPICS_KEPT = 20_000;
const DEFAULT_COLUMNS = {
  received_at: "@received",
  topic: "@topic",
  payload: "@payload",
  qos: "@qos",
  retained: "@retain",
};

interface Route {
  readonly id: string;
  readonly pattern: TopicPattern;
  readonly table: string;
  readonly decode: Decoder;
  readonly memory: Memory;
  readonly columns: readonly Column[];
  readonly skipRetained: boolean;
  readonly onDuplicateKey: Shape["onDuplicateKey"];
  readonly shapes: Map<string, Shape>;
}

/** What one topic means to one route. */
interface Target {
  readonly route: Route;
  readonly levels: Readonly<Record<string, string>>;
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
    const compiled = compileAll(routes, memories);
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
      const addresses = targets.map(({ route, shape }) => ({ lane: shape.table, route: route.id }));
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
      const target = this.#topic(delivery.topic).targets.find((it) => it.route.id === delivery.route);
      if (!target) {
        dead.push({
          ...delivery,
          lane,
          reason: `the route "${delivery.route}" is no longer in the configuration`,
          errno: null,
        });
      } else if (target.route.skipRetained && delivery.retain) filtered++;
      else {
        try {
          rows.push({
            sequence: delivery.sequence,
            shape: target.shape,
            values: this.#values(target, delivery),
          });
        } catch (error) {
          dead.push({ ...delivery, lane, reason: (error as Error).message, errno: null });
        }
      }
    }
    return { rows, dead, filtered, memory: this.#memories.changes() };
  }

  #values({ route, levels }: Target, delivery: Delivery): SqlValue[] {
    const payload = route.decode(delivery.payload, { topic: delivery.topic, memory: route.memory });
    const source = { delivery, levels, payload, gateway: this.#gateway };
    return route.columns.map((column) => column.read(source));
  }
}

function targetOf(route: Route, topicLevels: readonly string[]): Target {
  const levels = matchPattern(route.pattern, topicLevels)!;
  const table = tableName(route.table, levels);
  let shape = route.shapes.get(table);
  if (!shape) {
    const columns = route.columns.map((it) => it.row);
    shape = { table, columns, onDuplicateKey: route.onDuplicateKey, key: [] };
    route.shapes.set(table, shape);
  }
  return { route, levels, shape };
}

/** Compiles all routes and gives each an identity: its topic and table, numbered where that is not enough. */
function compileAll(routes: readonly RouteOptions[], memories: RouteMemories): Route[] {
  const counts = new Map<string, number>();
  return routes.map((options) => {
    const id = `${options.topic} -> ${options.table}`;
    const count = (counts.get(id) ?? 0) + 1;
    counts.set(id, count);
    return compile(count === 1 ? id : `${id} #${count}`, options, memories);
  });
}

function compile(id: string, options: RouteOptions, memories: RouteMemories): Route {
  const pattern = parsePattern(options.topic!);
  return {
    id,
    pattern,
    table: options.table!,
    decode: DECODER[options.decode ?? "auto"]!,
    memory: memories.of(id),
    columns: Object.entries(options.columns ?? DEFAULT_COLUMNS).map(([name, column]) =>
      compileColumn(name, column, pattern.names)
    ),
    skipRetained: options.retained === "skip",
    onDuplicateKey: options.onDuplicateKey ?? "error",
    shapes: new Map(),
  };
}

const TABLE_NAME_MAX = 64;

/** The table's name with its placeholders filled in, as a name that needs no thought: letters, digits, _ $ and -. */
function tableName(template: string, levels: Readonly<Record<string, string>>): string {
  const name = template.replace(/\{(\w+)\}/g, (_, level: string) => levels[level].replace(/[^\w$-]/g, "_"));
  return name.length <= TABLE_NAME_MAX ? name : name.slice(0, TABLE_NAME_MAX);
}

/** The tables that routes write to, with their columns. Placeholders in a table's name stay as they are. */
export function shapesOf(routes: readonly RouteOptions[]): Shape[] {
  return compileAll(routes, new RouteMemories()).map((route) => ({
    table: route.table,
    columns: route.columns.map((it) => it.row),
    onDuplicateKey: route.onDuplicateKey,
    key: [],
  }));
}
