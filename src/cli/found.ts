/**
 * What a proposal comes to: its columns, its table as SQL, and a row made of a message that was really heard; as data
 * and in words.
 */
import type { Proposal } from "../discover/proposal.ts";
import { routeText } from "../discover/route_text.ts";
import { columnType, createTableSql } from "../mysql/ddl.ts";
import { expandPreset, shapesOf } from "../route/mod.ts";
import type { Shape } from "../message.ts";
import type { RouteOptions } from "../route/options.ts";
import { harmless } from "./messages.ts";
import { Explainer, type Explanation } from "./explanation.ts";

/** The shape of `discover --json`: one object for each route. */
export interface Found {
  /** "Tasmota", or "JSON objects". */
  readonly kind: string;
  readonly topics: readonly string[];
  /** How many were heard. */
  readonly messages: number;
  readonly route: RouteOptions;
  readonly columns: readonly {
    /** Where a preset has several tables: the table, unless it is the first. */
    readonly table?: string;
    readonly name: string;
    readonly type: string;
    readonly unit: string | null;
    readonly value: string | null;
  }[];
  readonly sql: string;
  /** A message and its row; null where none could be kept. */
  readonly sample: Pick<Explanation, "topic" | "rows" | "reason"> | null;
}

export function found({ route, kind, topics }: Proposal, gateway: string): Found {
  const routes = expandPreset(route);
  const shapes = shapesOf(routes);
  const tables = [...new Set(shapes.map((it) => it.table))];
  const sql = [...new Set(shapes.map((shape) => `${createTableSql(shape)};`))].join("\n\n");
  const columns = tables.flatMap((table) => columnsOf(shapes, routes, table, table !== tables[0]));
  const messages = topics.reduce((sum, { count }) => sum + count, 0);
  const sample = sampleOf(routes, topics, gateway);
  return { kind, topics: topics.map(({ topic }) => topic), messages, route, columns, sql, sample };
}

/** The columns of a table, as the first route to it says them. */
function columnsOf(
  shapes: readonly Shape[],
  routes: readonly RouteOptions[],
  table: string,
  named: boolean,
): Found["columns"] {
  const at = shapes.findIndex((it) => it.table === table);
  return shapes[at].columns.map((column) => {
    const options = routes[at].columns?.[column.name];
    const given = typeof options === "string" ? { value: options } : options;
    return {
      ...(named && { table }),
      name: column.name,
      type: columnType(column).sql,
      unit: given?.unit ?? null,
      value: given?.value ?? null,
    };
  });
}

/** Takes the first message that makes a row, or else says why the first one does not. */
function sampleOf(
  routes: readonly RouteOptions[],
  topics: Proposal["topics"],
  gateway: string,
): Found["sample"] {
  const explainer = new Explainer({ routes, gateway, embedded: false });
  const all = topics.flatMap(({ sample }) => sample ? explainer.explain(sample) : []);
  const one = all.find(({ reason }) => reason === null) ?? all[0];
  return one ? { topic: one.topic, rows: one.rows, reason: one.reason } : null;
}

/** For people. */
export function formatFound({ kind, topics, messages, route, columns, sql, sample }: Found): string {
  const heard = `${count(topics.length, "topic")}, ${count(messages, "message")}`;
  const title = route.preset ?? `${route.topic} -> ${route.table}`;
  const table = [
    ["column", "type", "unit", "value"],
    ...columns.map((
      { table, name, type, unit, value },
    ) => [table ? `${table}.${name}` : name, type, unit ?? "", value ?? ""]),
  ];
  const rows = sample?.rows.map((row) => Object.entries(row.columns).map(([name, it]) => [name, show(it)]));
  return [
    `# ${harmless(title)}`,
    `${kind}; ${heard}, such as ${harmless(topics[0])}`,
    "",
    ...aligned(table),
    "",
    routeText(route),
    "",
    harmless(sql, { lines: true }),
    "",
    ...(sample === null ? [] : [
      harmless(`row of ${sample.topic}${sample.reason === null ? "" : `: none, ${sample.reason}`}`),
      ...aligned(rows?.[0] ?? []),
      "",
    ]),
  ].join("\n");
}

export const count = (n: number, noun: string) => `${n} ${noun}${n === 1 ? "" : "s"}`;

const SHOWN_MAX = 120;

function show(value: unknown): string {
  const text = harmless(JSON.stringify(value));
  return text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}...` : text;
}

function aligned(raw: readonly (readonly string[])[]): string[] {
  const cells = raw.map((row) => row.map((cell) => harmless(cell)));
  const widths = (cells[0] ?? []).map((_, i) => Math.max(...cells.map((row) => row[i].length)));
  return cells.map((row) => `  ${row.map((cell, i) => cell.padEnd(widths[i])).join("  ")}`.trimEnd());
}
