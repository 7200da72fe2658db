/**
 * The routes of a configuration, compiled: topics to addresses, deliveries to rows.
 *
 * The addresses of a topic are found once and kept (bounded), so that a message costs the same with ten routes and with
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
  readonly levels: Readonly<Record<string, string>>;
  readonly shape: Shape;
}

export function createRouter({ routes, gateway, memory }: RouterOptions): Router {
  return new CompiledRouter(routes, gateway, new RouteMemories(memory));
}

class CompiledRouter implements Router {
  readonly filters: readonly string[];
  readonly #routes = new Map<string, Route>();
  readonly #gateway: string;
  readonly #memories: RouteMemories;
  readonly #exact = new Map<string, Route[]>();
  readonly #wild: Route[] = [];
  readonly #addresses = new Map<string, readonly Address[]>();
  readonly #targets = new Map<string, Target>();

  constructor(routes: readonly RouteOptions[], gateway: string, memories: RouteMemories) {
    this.#gateway = gateway;
    this.#memories = memories;
    for (const options of routes) {
      const route = compile(options, this.#routes, memories);
      this.#routes.set(route.id, route);
      if (route.pattern.levels.every((it) => it.kind === "literal")) {
        const list = this.#exact.get(route.pattern.text) ?? [];
        list.push(route);
        this.#exact.set(route.pattern.text, list);
      } else this.#wild.push(route);
    }
    this.filters = disjointFilters([...this.#routes.values()].map((it) => it.pattern.filter));
  }

  address(topic: string): readonly Address[] {
    let known = this.#addresses.get(topic);
    if (!known) {
      const levels = topic.split("/");
      const matching = [
        ...this.#exact.get(topic) ?? [],
        ...this.#wild.filter((it) => matchPattern(it.pattern, levels)),
      ];
      known = matching.map((route) => ({ lane: this.#target(route, topic)!.shape.table, route: route.id }));
      if (this.#addresses.size >= TOPICS_KEPT) this.#addresses.clear();
      this.#addresses.set(topic, known);
    }
    return known;
  }

  #target(route: Route, topic: string): Target | undefined {
    const key = `${route.id}\0${topic}`;
    let target = this.#targets.get(key);
    if (!target) {
      const levels = matchPattern(route.pattern, topic.split("/"));
      if (!levels) return undefined;
      const table = tableName(route.table, levels);
      let shape = route.shapes.get(table);
      if (!shape) {
        shape = {
          table,
          columns: route.columns.map((it) => it.row),
          onDuplicateKey: route.onDuplicateKey,
          key: [],
        };
        route.shapes.set(table, shape);
      }
      if (this.#targets.size >= TOPICS_KEPT) this.#targets.clear();
      this.#targets.set(key, target = { levels, shape });
    }
    return target;
  }

  decode(lane: string, deliveries: readonly Delivery[]): Decoded {
    const rows: Row[] = [];
    const dead: DeadLetter[] = [];
    let filtered = 0;
    for (const delivery of deliveries) {
      const route = this.#routes.get(delivery.route);
      const target = route && this.#target(route, delivery.topic);
      if (!route || !target) {
        dead.push({
          ...delivery,
          lane,
          reason: `the route "${delivery.route}" is no longer in the configuration`,
          errno: null,
        });
      } else if (route.skipRetained && delivery.retain) filtered++;
      else {
        try {
          rows.push({
            sequence: delivery.sequence,
            shape: target.shape,
            values: this.#values(route, target, delivery),
          });
        } catch (error) {
          dead.push({ ...delivery, lane, reason: (error as Error).message, errno: null });
        }
      }
    }
    return { rows, dead, filtered, memory: this.#memories.changes() };
  }

  #values(route: Route, { levels }: Target, delivery: Delivery): SqlValue[] {
    const payload = route.decode(delivery.payload, { topic: delivery.topic, memory: route.memory });
    const source = { delivery, levels, payload, gateway: this.#gateway };
    return route.columns.map((column) => column.read(source));
  }
}

function compile(
  options: RouteOptions,
  others: ReadonlyMap<string, unknown>,
  memories: RouteMemories,
): Route {
  const pattern = parsePattern(options.topic!);
  const base = `${options.topic} -> ${options.table}`;
  let id = base;
  for (let n = 2; others.has(id); n++) id = `${base} #${n}`;
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
  const others = new Map<string, Route>();
  return routes.map((options) => {
    const route = compile(options, others, new RouteMemories());
    others.set(route.id, route);
    return {
      table: route.table,
      columns: route.columns.map((it) => it.row),
      onDuplicateKey: route.onDuplicateKey,
      key: [],
    };
  });
}
