/**
 * What a proposal comes to: its columns, its table as SQL, and a row made of a message that was really heard; as data
 * and in words.
 */
import type { Proposal } from "../discover/proposal.ts";
import { routeText } from "../discover/route_text.ts";
import { columnSql, createTableSql, quote } from "../mysql/ddl.ts";
import { createRouter, shapesOf } from "../route/mod.ts";
import type { RouteOptions } from "../route/options.ts";
import { explainMessage, type Explanation } from "./explanation.ts";

/** The shape of `discover --json`: one object for each route. */
export interface Found {
  /** "Tasmota", or "JSON objects". */
  readonly kind: string;
  readonly topics: readonly string[];
  /** How many were heard. */
  readonly messages: number;
  readonly route: RouteOptions;
  readonly columns: readonly {
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
  const [shape] = shapesOf([route]);
  const sql = `${createTableSql(shape)};`;
  const columns = shape.columns.map((column) => {
    const options = route.columns?.[column.name];
    const given = typeof options === "string" ? { value: options } : options;
    return {
      name: column.name,
      type: columnSql(column).slice(quote(column.name).length + 1).replace(/ (NOT )?NULL$/, ""),
      unit: given?.unit ?? null,
      value: given?.value ?? null,
    };
  });
  const messages = topics.reduce((sum, { count }) => sum + count, 0);
  const sample = sampleOf(route, topics, gateway);
  return { kind, topics: topics.map(({ topic }) => topic), messages, route, columns, sql, sample };
}

/** Takes the first message that makes a row, or else says why the first one does not. */
function sampleOf(route: RouteOptions, topics: Proposal["topics"], gateway: string): Found["sample"] {
  const router = createRouter({ routes: [route], gateway });
  const all = topics.flatMap(({ sample }) => sample ? explainMessage(router, sample).slice(0, 1) : []);
  const one = all.find(({ reason }) => reason === null) ?? all[0];
  return one ? { topic: one.topic, rows: one.rows, reason: one.reason } : null;
}

/** For people. */
export function formatFound({ kind, topics, messages, route, columns, sql, sample }: Found): string {
  const heard = `${count(topics.length, "topic")}, ${count(messages, "message")}`;
  const title = route.preset ?? `${route.topic} -> ${route.table}`;
  const table = [
    ["column", "type", "unit", "value"],
    ...columns.map(({ name, type, unit, value }) => [name, type, unit ?? "", value ?? ""]),
  ];
  const rows = sample?.rows.map((row) => Object.entries(row.columns).map(([name, it]) => [name, show(it)]));
  return [
    `# ${title}`,
    `${kind}; ${heard}, such as ${topics[0]}`,
    "",
    ...aligned(table),
    "",
    routeText(route),
    "",
    sql,
    "",
    ...(sample === null ? [] : [
      `row of ${sample.topic}${sample.reason === null ? "" : `: none, ${sample.reason}`}`,
      ...aligned(rows?.[0] ?? []),
      "",
    ]),
  ].join("\n");
}

export const count = (n: number, noun: string) => `${n} ${noun}${n === 1 ? "" : "s"}`;

const SHOWN_MAX = 120;

function show(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}...` : text;
}

function aligned(cells: readonly (readonly string[])[]): string[] {
  const widths = (cells[0] ?? []).map((_, i) => Math.max(...cells.map((row) => row[i].length)));
  return cells.map((row) => `  ${row.map((cell, i) => cell.padEnd(widths[i])).join("  ")}`.trimEnd());
}
