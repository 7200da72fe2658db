/**
 * What the routes make of messages, in words and as data: the same for `explain`, which is given them, and for `tap`,
 * which hears them.
 *
 * Messages are looked at one after another, as the gateway would: filters remember what came before, Sparkplug births
 * give names to what follows.
 */
import { type LoadedConfig, placeInFile } from "../config/load.ts";
import { placeOf } from "../config/finding.ts";
import type { Router } from "../contracts.ts";
import type { Delivery, Message, Row, SqlValue } from "../message.ts";
import { insertText as mysqlInsert } from "../mysql/insert.ts";
import { createRouter, routeIds } from "../route/mod.ts";
import type { RouteOptions } from "../route/options.ts";
import { insertText as sqliteInsert } from "../sqlite/worker.ts";
import { whyLeftOut } from "./left_out.ts";
import { harmless } from "./messages.ts";

/** The shape of `explain --json` and `tap --json`: one object for each route that matches, or one without a route. */
export interface Explanation {
  readonly topic: string;
  readonly route: string | null;
  readonly rows: readonly { readonly table: string; readonly columns: Readonly<Record<string, unknown>> }[];
  readonly sql: string | null;
  /** Of all rows, one after another. */
  readonly values: readonly unknown[];
  /** Why nothing is stored; null where something is. */
  readonly reason: string | null;
}

export type Outcome = "stored" | "dead" | "filtered" | "unrouted";

/** An explanation with what only people are told. */
export interface Explained extends Explanation {
  readonly outcome: Outcome;
  /** Number of the route among those that presets stand for. */
  readonly index: number | undefined;
}

const FILTERS_SHOWN = 5;

export class Explainer {
  readonly #routes: readonly RouteOptions[];
  readonly #gateway: string;
  readonly #router: Router;
  readonly #embedded: boolean;
  /** Numbers of the routes, by identity. */
  readonly #indexes: ReadonlyMap<string, number>;
  #sequence = 0;

  /** `embedded`: the database is SQLite, whose SQL is another one. */
  constructor(
    { routes, gateway, embedded }: { routes: readonly RouteOptions[]; gateway: string; embedded: boolean },
  ) {
    this.#routes = routes;
    this.#gateway = gateway;
    this.#embedded = embedded;
    this.#router = createRouter({ routes, gateway });
    this.#indexes = new Map(routeIds(routes).map((id, i) => [id, i]));
  }

  /** Topic filters that the routes subscribe to. */
  get filters(): readonly string[] {
    return this.#router.filters;
  }

  explain(message: Message): Explained[] {
    const { topic } = message;
    const addresses = this.#router.address(topic);
    const sequence = ++this.#sequence;
    if (addresses.length === 0) {
      const reason = `no route matches this topic; the routes subscribe to ${this.#filterList()}`;
      return [{
        topic,
        route: null,
        rows: [],
        sql: null,
        values: [],
        reason,
        outcome: "unrouted",
        index: undefined,
      }];
    }
    return addresses.map(({ lane, route }) => this.#one(lane, { ...message, sequence, route }));
  }

  #one(lane: string, delivery: Delivery): Explained {
    const { topic, route } = delivery;
    const index = this.#indexes.get(route)!;
    const { rows, dead } = this.#router.decode(lane, [delivery]);
    const outcome = dead.length > 0 ? "dead" : rows.length > 0 ? "stored" : "filtered";
    const reason = dead[0]?.reason ??
      (rows.length > 0 ? null : whyLeftOut(this.#routes[index], delivery, this.#gateway));
    return {
      topic,
      route,
      rows: rows.map((row) => ({ table: row.shape.table, columns: columnsOf(row) })),
      sql: rows.length > 0 ? this.#sql(rows) : null,
      values: rows.flatMap((row) => row.values.map(plain)),
      reason,
      outcome,
      index,
    };
  }

  /** As it is sent: MySQL takes several rows in one statement, SQLite one after another. */
  #sql(rows: readonly Row[]): string {
    return this.#embedded ? sqliteInsert(rows[0].shape) : mysqlInsert(rows[0].shape, rows.length);
  }

  #filterList(): string {
    const shown = this.filters.slice(0, FILTERS_SHOWN).join(", ");
    const more = this.filters.length - FILTERS_SHOWN;
    return `${shown || "nothing"}${more > 0 ? ` and ${more} more` : ""}`;
  }
}

/** The explainer of a configuration. */
export function explainerOf({ config }: LoadedConfig): Explainer {
  const embedded = config.database.url.startsWith("sqlite:");
  return new Explainer({ routes: config.routes, gateway: config.name, embedded });
}

/** What programs are told. */
export function jsonOf({ topic, route, rows, sql, values, reason }: Explanation): string {
  return JSON.stringify({ topic, route, rows, sql, values, reason });
}

/** For people. `loaded` says where in the file the route is. */
export function formatExplained(it: Explained, loaded: LoadedConfig): string {
  const { topic, route, rows, sql, values, reason, outcome } = it;
  const lines = [`topic  ${harmless(topic)}`];
  if (route !== null) {
    lines.push(
      `route  ${harmless(route)}`,
      ...routePlace(it, loaded).map((at) => `       ${at}`),
    );
  }
  for (const { table, columns } of rows) {
    lines.push(`row    ${harmless(table)}`);
    const width = Math.max(...Object.keys(columns).map((name) => name.length));
    for (const [name, value] of Object.entries(columns)) {
      lines.push(`         ${name.padEnd(width)}  ${harmless(JSON.stringify(value))}`);
    }
  }
  if (sql !== null) lines.push(`sql    ${sql}`, `values ${harmless(JSON.stringify(values))}`);
  if (reason !== null) lines.push(`${VERDICTS[outcome]}: ${harmless(reason)}`, ...reasonPlace(it, loaded));
  return lines.join("\n");
}

const VERDICTS: Readonly<Record<Outcome, string>> = {
  stored: "stored",
  dead: "not stored, becomes a dead letter",
  filtered: "not stored, left out",
  unrouted: "not stored",
};

function routePlace({ index }: Explained, { config, madeFrom, path, source }: LoadedConfig): string[] {
  if (index === undefined) return [];
  const at = placeInFile(source, ["routes", madeFrom[index]]);
  if (!at.found) return [`made because ${path} has no "routes"`];
  const { family } = config.routes[index];
  const made = madeFrom.flatMap((it, i) => it === madeFrom[index] ? [i] : []);
  const of = made.length > 1 ? `, ${made.indexOf(index) + 1} of its ${made.length} routes` : "";
  const { line } = placeOf(source, at.offset);
  return [`${path}:${line}${family ? `, preset ${family}${of}` : ""}`];
}

/** Where to mend it: the column, the filter, or how the payload is read. */
function reasonPlace(
  { outcome, index, reason }: Explained,
  { config, madeFrom, path, source }: LoadedConfig,
): string[] {
  if (outcome !== "dead" || index === undefined) return [];
  const column = /^column (.+?): /.exec(reason!)?.[1];
  const key = /^(when|each): /.exec(reason!)?.[1];
  const keys = column !== undefined ? ["columns", column] : key !== undefined ? [key] : ["decode"];
  const at = placeInFile(source, ["routes", madeFrom[index], ...keys]);
  if (!at.found) return [];
  const { line, column: at1 } = placeOf(source, at.offset);
  const { columns, decode } = config.routes[index];
  const written = column !== undefined ? columns?.[column] : key !== undefined ? undefined : decode;
  return [`  --> ${path}:${line}:${at1}${written === undefined ? "" : `  ${JSON.stringify(written)}`}`];
}

function columnsOf({ shape, values }: Row): Record<string, unknown> {
  return Object.fromEntries(shape.columns.map(({ name }, i) => [name, plain(values[i])]));
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** A value as JSON can carry it: text where the bytes are text, base64 where they are not. */
function plain(value: SqlValue): unknown {
  if (typeof value === "bigint") return value.toString();
  if (!(value instanceof Uint8Array)) return value;
  try {
    return decoder.decode(value);
  } catch {
    return { base64: value.toBase64() };
  }
}
