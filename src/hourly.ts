/**
 * The names of hourly summaries, which every database keeps alike: a table `<table>_hourly` with one row for each hour
 * and series, and in it four columns for each column of numbers.
 */

/** Of the hour's first moment, in UTC. */
export const HOUR_COLUMN = "hour";

export const STATISTICS = ["min", "mean", "max", "count"] as const;
export type Statistic = typeof STATISTICS[number];

export const MS_PER_HOUR = 3_600_000;

export const hourlyTable = (table: string): string => `${table}_hourly`;

export const hourlyColumn = (column: string, statistic: Statistic): string => `${column}_${statistic}`;

/** All columns that a summary of these has. */
export const hourlyColumns = (series: readonly string[], numbers: readonly string[]): string[] => [
  HOUR_COLUMN,
  ...series,
  ...numbers.flatMap((name) => STATISTICS.map((it) => hourlyColumn(name, it))),
];

/** Hours since 1970 UTC, from `from` on and before `to`. */
export interface HourSpan {
  readonly from: number;
  readonly to: number;
}

/** In order, without overlaps. */
export function joinHours(spans: readonly HourSpan[]): HourSpan[] {
  const all: HourSpan[] = [];
  for (const span of spans.toSorted((a, b) => a.from - b.from)) {
    const last = all.at(-1);
    if (last && span.from <= last.to) {
      all[all.length - 1] = { from: last.from, to: Math.max(last.to, span.to) };
    } else if (span.from < span.to) all.push(span);
  }
  return all;
}

/** The hour of a time as databases give it, `YYYY-MM-DD HH:...` or a date alone; NaN where it is none. */
export function hourOf(text: string): number {
  return Date.parse(`${text.slice(0, 10)}T${text.slice(11, 13) || "00"}:00Z`) / MS_PER_HOUR;
}

/** Where a table's hours begin and its summary ends, which every database is asked alike. */
export interface HourQuestions {
  readonly table: string;
  /** The column of times. */
  readonly time: string;
  readonly quote: (name: string) => string;
  /** The value of `found` in the one row of the answer. */
  readonly ask: (sql: string, values: readonly string[]) => Promise<unknown>;
}

export function hourQuestions({ table, time, quote, ask }: HourQuestions) {
  const hour = quote(HOUR_COLUMN);
  const one = async (sql: string, values: readonly string[]) => {
    const found = await ask(sql, values);
    return found === null ? undefined : hourOf(String(found));
  };
  return {
    lastSummed: (before: number) =>
      one(`SELECT MAX(${hour}) AS found FROM ${quote(hourlyTable(table))} WHERE ${hour} < ?`, [
        hourText(before),
      ]),
    firstWithRows: (from: number, to: number) =>
      one(`SELECT MIN(${quote(time)}) AS found FROM ${quote(table)} WHERE ${between(quote(time))}`, [
        hourText(from),
        hourText(to),
      ]),
  };
}

/** SQL for a time from one parameter on and before the next. */
export const between = (time: string): string => `${time} >= ? AND ${time} < ?`;

/** `YYYY-MM-DD HH:00:00` of an hour since 1970 UTC, in the years 1000 to 9999. */
export function hourText(hour: number): string {
  return new Date(hour * MS_PER_HOUR).toISOString().slice(0, 19).replace("T", " ");
}
