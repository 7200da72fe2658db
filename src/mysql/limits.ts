/**
 * What MySQL could never make of the routes' tables: names that are none, keys that are too long. Known from the
 * configuration alone; what only a server can tell is `check`'s business.
 */
import { hourlyColumn, hourlyTable } from "../hourly.ts";
import type { RowColumn, Shape } from "../message.ts";
import { designOf } from "../table_design.ts";
import { KEY_BYTES_MAX, valueBytes } from "./column_size.ts";
import { columnType } from "./ddl.ts";
import { identifierProblem } from "./identifier.ts";

export interface TableLimit {
  /** Index of the shape. */
  readonly route: number;
  readonly path: readonly (string | number)[];
  readonly message: string;
}

const HOUR_BYTES = 5;
const COLUMNS_MAX = 1_017;

/** One entry for each route that asks for what cannot be. */
export function tableLimits(shapes: readonly Shape[]): TableLimit[] {
  const found: TableLimit[] = [];
  const seen = new Set<string>();
  shapes.forEach((shape, route) => {
    for (const { path, message } of limitsOf(shape)) {
      const said = `${shape.table}\n${message}`;
      if (!seen.has(said)) found.push({ route, path, message });
      seen.add(said);
    }
  });
  return found;
}

function limitsOf(shape: Shape): Omit<TableLimit, "route">[] {
  const found: Omit<TableLimit, "route">[] = [];
  const report = (message: string, ...path: (string | number)[]) => found.push({ path, message });
  const { table, columns } = shape;
  for (const { name } of columns) {
    const problem = identifierProblem(name);
    if (problem) report(`the column "${name}" ${problem}`, "columns", name);
  }
  if (columns.length > COLUMNS_MAX) {
    report(`a table has at most ${COLUMNS_MAX} columns, these are ${columns.length}`, "columns");
  }
  const problem = table.includes("{") ? undefined : identifierProblem(table);
  if (problem) report(`the table's name ${problem}`, "table");
  const { hourly } = designOf(shape);
  if (hourly) hourlyLimits(shape, report);
  return found;
}

function hourlyLimits(shape: Shape, report: (message: string, ...path: string[]) => void): void {
  const { series, columns } = designOf(shape);
  const summary = hourlyTable(shape.table);
  const problem = shape.table.includes("{") ? undefined : identifierProblem(summary);
  if (problem) report(`the name of the hourly table ${summary} ${problem}`, "table");
  const numbers = columns.filter((it) => it.role === "value" && !series.includes(it.name) && isNumber(it));
  for (const { name } of numbers) {
    const inSummary = hourlyColumn(name, "count");
    const problem = identifierProblem(inSummary);
    if (problem) report(`the column "${inSummary}" of ${summary} ${problem}`, "columns", name);
  }
  const column = (name: string) => columns.find((it) => it.name === name);
  const bytes = series.map(column).filter((it) => it !== undefined).map(keyBytes);
  const sum = HOUR_BYTES + bytes.reduce((total, it) => total + it, 0);
  if (sum > KEY_BYTES_MAX) {
    report(
      `what tells series apart (${
        series.join(", ")
      }) takes ${sum} bytes in the key of ${summary}, MySQL's limit is ` +
        `${KEY_BYTES_MAX}: say "hourly": { "by": [...] } with fewer columns, or give them a type like varchar(64)`,
      "hourly",
    );
  }
}

const isNumber = (column: RowColumn) =>
  ["integer", "decimal", "float", "boolean"].includes(columnType(column).family);

const keyBytes = (column: RowColumn) =>
  Math.min(KEY_BYTES_MAX, valueBytes(columnType(column, undefined, true)));
