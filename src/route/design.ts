/**
 * What a table is beyond the rows of one route: its columns as all routes to it need them, what tells its series apart,
 * which column is its time, how long its rows are kept, whether hours are summed up.
 *
 * A row's time is its arrival where the route stores that, otherwise a time that the payload tells. Series are told
 * apart by what the route says (`hourly.by`, `key`), by device and name in presets, otherwise by the placeholders of the
 * topic, or by the topic itself where those do not tell all of it. It makes no SQL.
 */
import { type ColumnType, parseColumnType } from "../column_type.ts";
import { hourlyColumns, hourlyTable } from "../hourly.ts";
import type { DesignColumn, RowColumn, TableDesign } from "../message.ts";
import type { Layout } from "./layout.ts";
import type { RouteOptions } from "./options.ts";
import type { TopicPattern } from "./pattern.ts";

/** What tells the rows of a preset apart. */
export const SERIES: readonly string[] = ["device", "name"];

type Columns = Pick<Layout, "columns" | "key">;

/** The table as one route wants it. What is wrong with that is `designProblems`' business. */
export function compileDesign(
  route: RouteOptions,
  layout: Columns,
  pattern: Pick<TopicPattern, "names" | "anonymous">,
): TableDesign {
  const { retentionMs, hourly = false } = route;
  return {
    columns: layout.columns,
    key: layout.key,
    series: seriesOf(route, layout, pattern),
    time: timeOf(layout.columns),
    retentionMs,
    hourly: hourly !== false,
    isOneOfMany: route.table?.includes("{") ?? false,
  };
}

/** The table as all of these routes want it. */
export function mergeDesigns(designs: readonly TableDesign[]): TableDesign {
  if (designs.length === 1) return designs[0];
  const columns = new Map<string, { column: RowColumn; writers: number }>();
  for (const design of designs) {
    for (const column of design.columns) {
      const name = column.name.toLowerCase();
      const known = columns.get(name);
      columns.set(name, {
        column: known && (known.column.type !== undefined || column.type === undefined)
          ? known.column
          : column,
        writers: (known?.writers ?? 0) + 1,
      });
    }
  }
  const ages = designs.map((it) => it.retentionMs);
  return {
    columns: [...columns.values()].map(({ column, writers }): DesignColumn =>
      writers === designs.length ? column : { ...column, sometimes: true }
    ),
    key: designs.find((it) => it.key.length > 0)?.key ?? [],
    series: [...new Set(designs.flatMap((it) => it.series))],
    time: designs.find((it) => it.time !== undefined)?.time,
    // Nothing that a route wants to keep is removed for another's sake.
    retentionMs: ages.includes(undefined) ? undefined : Math.max(...ages as number[]),
    hourly: designs.some((it) => it.hourly),
    isOneOfMany: designs.some((it) => it.isOneOfMany),
  };
}

function timeOf(columns: readonly RowColumn[]): string | undefined {
  const times = columns.filter((it) =>
    ["datetime", "date"].includes(typeOf(it)?.family ?? (it.role === "received" ? "datetime" : ""))
  );
  const time = times.find((it) => it.role === "received") ?? times.find((it) => it.role === "time");
  return time?.name;
}

function seriesOf(
  route: RouteOptions,
  { columns, key }: Columns,
  { names, anonymous }: Pick<TopicPattern, "names" | "anonymous">,
): string[] {
  if (typeof route.hourly === "object") return [...route.hourly.by];
  if (route.family !== undefined && SERIES.every((name) => columns.some((it) => it.name === name))) {
    return [...SERIES];
  }
  const time = timeOf(columns);
  if (key.length > 0) return key.filter((it) => it !== time);
  const levels = levelColumns(route);
  const topic = columns.find((it) => it.role === "topic");
  const allTold = !anonymous && names.every((name) => Object.values(levels).includes(name));
  return columns.filter((it) =>
    it.role === "gateway" ||
    (it === topic ? !allTold : it.role === "level" && (!topic || allTold || !Object.hasOwn(levels, it.name)))
  ).map((it) => it.name);
}

/** Columns that hold a placeholder of the topic: column to placeholder. */
function levelColumns({ columns = {} }: RouteOptions): Record<string, string> {
  return Object.fromEntries(
    Object.entries(columns).flatMap(([name, it]) => {
      const level = /^\{(\w+)(?:\.\.\.)?\}$/.exec(typeof it === "string" ? it : it.value)?.[1];
      return level === undefined ? [] : [[name, level]];
    }),
  );
}

function typeOf({ type }: RowColumn): ColumnType | undefined {
  return type === undefined ? undefined : parseColumnType(type);
}

/** Whether minimum and mean mean something; a column without a type is taken for a number until its table says otherwise. */
export function isNumber(column: RowColumn): boolean {
  const family = typeOf(column)?.family;
  return column.role === "value" &&
    (family === undefined || ["integer", "decimal", "float", "boolean"].includes(family));
}

export interface DesignProblem {
  readonly path: readonly (string | number)[];
  readonly message: string;
}

/** As a configuration writes it, before its durations are read. */
type RouteText = RouteOptions & { readonly retention?: unknown };

const NO_TIME = `needs a column with a row's time: one with "@received", or one with a "time"`;

/** What is wrong with `retention` and `hourly` of a route that is good otherwise. */
export function designProblems(route: RouteText, layout: Layout): DesignProblem[] {
  const { hourly = false, retentionMs, retention = retentionMs } = route;
  const time = timeOf(layout.columns);
  const problems: DesignProblem[] = [];
  const twin = repeated(layout.columns.map((it) => it.name));
  if (twin !== undefined) {
    const message =
      `two columns are called "${twin}": databases do not tell capitals from small letters in names`;
    problems.push({ path: ["columns", twin], message });
  }
  if (retention !== undefined && time === undefined) {
    problems.push({ path: ["retention"], message: `"retention" ${NO_TIME}` });
  }
  if (hourly === false) return problems;
  const report = (message: string, ...path: (string | number)[]) =>
    problems.push({ path: ["hourly", ...path], message });
  if (time === undefined) report(`"hourly" ${NO_TIME}`);
  const timeColumn = layout.columns.find((it) => it.name === time);
  if (timeColumn && typeOf(timeColumn)?.family === "date") {
    report(`"hourly" needs the time of a row: "${time}" is a date alone`);
  }
  if (layout.onDuplicateKey === "update") {
    report(`"hourly" needs every row to stay: this route overwrites its rows`);
  }
  const series = seriesOf(route, layout, { names: [], anonymous: true });
  const by = typeof hourly === "object" && Array.isArray(hourly.by) ? hourly.by : [];
  by.forEach((name, i) => {
    const column = layout.columns.find((it) => it.name === name);
    const names = layout.columns.map((it) => it.name).join(", ");
    if (!column) report(`"${name}" is no column of this route, which has ${names}`, "by", i);
    else if (name === time) report(`"${name}" is the time, which tells no series apart`, "by", i);
    else if (isLong(column)) {
      report(`"${name}" is too long to tell series apart: give it a type like varchar(64)`, "by", i);
    }
  });
  const numbers = layout.columns.filter((it) => isNumber(it) && !series.includes(it.name));
  if (numbers.length === 0) {
    const text = layout.columns.find((it) => it.role === "value");
    report(`"hourly" needs a column of numbers` + (text?.type ? `: "${text.name}" is ${text.type}` : ""));
  }
  const twice = repeated(hourlyColumns(series, numbers.map((it) => it.name)));
  if (twice !== undefined) {
    report(`its table would have two columns "${twice}": call one of this route's differently`);
  }
  return problems;
}

/** A name that occurs twice; databases do not tell capitals from small letters in names of columns. */
function repeated(names: readonly string[]): string | undefined {
  const lower = names.map((it) => it.toLowerCase());
  return names.find((_, i) => lower.indexOf(lower[i]) !== i);
}

/** Of a type whose length has no limit, or one that no key can hold. */
function isLong(column: RowColumn): boolean {
  const type = typeOf(column);
  if (!type) return column.role === "payload";
  return type.family === "json" || /text|blob/.test(type.name);
}

export interface TableProblem extends DesignProblem {
  /** Index of the route; where two do not go together, of the later one. */
  readonly route: number;
}

/** What cannot be said of one table by several routes. */
export function tableProblems(
  tables: readonly { readonly table: string; readonly design: TableDesign }[],
  duration: (ms: number) => string,
): TableProblem[] {
  const first = new Map<string, { readonly design: TableDesign; readonly route: number }>();
  const problems: TableProblem[] = [];
  const age = (ms: number | undefined) => ms === undefined ? "for ever" : `for ${duration(ms)}`;
  tables.forEach(({ table, design }, route) => {
    const known = first.get(table);
    if (!known) return first.set(table, { design, route });
    const report = (key: string, message: string) => problems.push({ route, path: [key], message });
    if (known.design.retentionMs !== design.retentionMs) {
      report(
        "retention",
        `rows of ${table} are kept ${age(design.retentionMs)} here and ${age(known.design.retentionMs)} ` +
          `in another route: say the same "retention" in all routes to one table`,
      );
    }
    const kept = design.retentionMs !== undefined || design.hourly || known.design.hourly;
    if (kept && known.design.time !== design.time) {
      report(
        "columns",
        `the time of ${table} is ${design.time ?? "missing"} here and ${
          known.design.time ?? "missing"
        } in another ` +
          `route: its rows need one column by which they grow old`,
      );
    }
  });
  for (const [table, { design, route }] of first) {
    const twin = design.hourly ? first.get(hourlyTable(table)) : undefined;
    if (!twin) continue;
    const message = `${hourlyTable(table)} is kept by "hourly" of the route to ${table}`;
    problems.push({ route: Math.max(route, twin.route), path: ["table"], message });
  }
  return problems;
}
