/**
 * Hourly summaries in MySQL: `<table>_hourly` has for each hour and series the minimum, mean, maximum and count of each
 * column of numbers, computed by the server from the rows themselves.
 *
 * The summary is made where it is missing, and gets columns when the table gets some. What it says of an hour is never
 * replaced by less. NULL in a column of the series counts as '' or 0.
 */
import { between, HOUR_COLUMN, hourlyColumn, hourlyTable, hourQuestions, hourText } from "../hourly.ts";
import type { Shape, TableDesign } from "../message.ts";
import { StallError } from "../errors.ts";
import { designOf } from "../table_design.ts";
import type { HourlyStore } from "../upkeep.ts";
import type { MysqlConnection } from "./connect.ts";
import { columnType, TABLE_OPTIONS } from "./ddl.ts";
import { quote, textSql } from "./identifier.ts";
import { factOf, type TableFacts, tableFacts } from "./table_facts.ts";
import { STEP_TIMEOUT_MS, type Upkeep } from "./upkeep.ts";

const NUMBERS = /^(tinyint|smallint|mediumint|int|bigint|decimal|float|double)$/;
const TEXTS = /char|text|enum|set/;

/** A summary's columns, with the types that they have in the table. */
interface Summary {
  readonly table: string;
  readonly time: string;
  readonly series: readonly { readonly name: string; readonly sql: string; readonly isText: boolean }[];
  readonly numbers: readonly {
    readonly name: string;
    readonly sql: string;
    readonly unit: string | undefined;
  }[];
}

/** The summary of a table, made where it is missing. */
export async function openHourly(upkeep: Upkeep): Promise<HourlyStore> {
  const summary = summaryOf(upkeep);
  const { table, time } = summary;
  await upkeep.step((connection) => ensureTable(connection, summary, upkeep));
  const ask = async (sql: string, values: readonly string[]) => {
    const [{ found }] = await upkeep.step((connection) => connection.execute(sql, values, STEP_TIMEOUT_MS));
    return found;
  };
  return {
    ...hourQuestions({ table, time, quote, ask }),
    sumUp: (hour, complete) =>
      upkeep.step(async (connection) => {
        // The rows are read as they are, without locks; for this one transaction only.
        await connection.query("SET TRANSACTION ISOLATION LEVEL READ COMMITTED");
        const values = [hourText(hour), hourText(hour), hourText(hour + 1)];
        await connection.execute(sumUpSql(summary, complete), values, STEP_TIMEOUT_MS);
      }),
  };
}

/** Of a table as it is. */
function summaryOf({ table, design, facts, time }: Upkeep): Summary {
  const series = design.series.map((name) => {
    const fact = factOf(facts, name);
    if (!fact) throw stalled(table, `table ${table} has no column ${name}, which tells its series apart`);
    const charset = fact.charset === null ? "" : ` CHARACTER SET ${fact.charset} COLLATE ${fact.collation}`;
    return { name, sql: fact.sql + charset, isText: TEXTS.test(fact.type) };
  });
  const numbers = design.columns.flatMap(({ name, role, unit }) => {
    const fact = factOf(facts, name);
    const isNumber = role === "value" && fact && NUMBERS.test(fact.type) && !design.series.includes(name);
    return isNumber ? [{ name, sql: fact.sql, unit }] : [];
  });
  if (numbers.length === 0) {
    throw stalled(table, `table ${table} has no column of numbers to sum up by the hour`);
  }
  return { table, time, series, numbers };
}

/** `CREATE TABLE` of the summary of a table that is not there yet; undefined where none is kept. */
export function hourlyTableSql(shape: Shape): string | undefined {
  const design = designOf(shape);
  if (!design.hourly || design.time === undefined) return undefined;
  return createSql(plannedSummary(shape.table, design, design.time));
}

function plannedSummary(table: string, { columns, series }: TableDesign, time: string): Summary {
  const typed = columns.map((column) => ({
    column,
    type: columnType(column, undefined, series.includes(column.name)),
  }));
  return {
    table,
    time,
    series: series.flatMap((name) => {
      const found = typed.find(({ column }) => column.name === name);
      if (!found) return [];
      const isText = found.type.family === "text";
      return [{ name, sql: found.type.sql + (isText ? " COLLATE utf8mb4_bin" : ""), isText }];
    }),
    numbers: typed.filter(({ column, type }) =>
      column.role === "value" && !series.includes(column.name) &&
      ["integer", "decimal", "float", "boolean"].includes(type.family)
    ).map(({ column, type }) => ({ name: column.name, sql: type.sql, unit: column.unit })),
  };
}

function createSql({ table, series, numbers }: Summary): string {
  const key = [...series.map(({ name }) => name), HOUR_COLUMN].map(quote).join(", ");
  const lines = [
    `${quote(HOUR_COLUMN)} DATETIME NOT NULL`,
    ...series.map(({ name, sql }) => `${quote(name)} ${sql} NOT NULL`),
    ...numbers.flatMap(numberColumns),
    `PRIMARY KEY (${key})`,
    ...(series.length > 0 ? [`KEY (${quote(HOUR_COLUMN)})`] : []),
  ];
  return `CREATE TABLE IF NOT EXISTS ${quote(hourlyTable(table))} (\n  ${
    lines.join(",\n  ")
  }\n) ${TABLE_OPTIONS}`;
}

function numberColumns({ name, sql, unit }: Summary["numbers"][number]): string[] {
  const comment = unit === undefined ? "" : ` COMMENT ${textSql(unit)}`;
  return [
    `${quote(hourlyColumn(name, "min"))} ${sql} NULL${comment}`,
    `${quote(hourlyColumn(name, "mean"))} DOUBLE NULL${comment}`,
    `${quote(hourlyColumn(name, "max"))} ${sql} NULL${comment}`,
    `${quote(hourlyColumn(name, "count"))} INT UNSIGNED NOT NULL DEFAULT 0`,
  ];
}

/** Makes the summary's table, or adds to it what the table has got in the meantime. */
async function ensureTable(
  connection: MysqlConnection,
  summary: Summary,
  { createTables }: Pick<Upkeep, "createTables">,
): Promise<void> {
  const name = hourlyTable(summary.table);
  const facts = await tableFacts(connection, name);
  const forbid = (what: string) => {
    if (createTables) return;
    throw stalled(summary.table, `${what}, and createTables is false`, "`sluice ddl` prints what is needed");
  };
  if (!facts) {
    forbid(`there is no table ${name}`);
    return void await connection.query(createSql(summary));
  }
  assertSameSeries(summary, facts, name);
  const missing = summary.numbers.filter((it) => !factOf(facts, hourlyColumn(it.name, "count")));
  if (missing.length === 0) return;
  forbid(`table ${name} has no columns for ${missing.map((it) => it.name).join(", ")}`);
  const added = missing.flatMap(numberColumns).map((it) => `ADD COLUMN ${it}`);
  await connection.query(`ALTER TABLE ${quote(name)} ${added.join(", ")}`);
}

/** Rows of other series would be added up with those that are there. */
function assertSameSeries({ table, series }: Summary, { primaryKey }: TableFacts, name: string): void {
  const wanted = [...series.map((it) => it.name), HOUR_COLUMN].map((it) => it.toLowerCase()).sort();
  if (wanted.join("\n") === primaryKey.map((it) => it.toLowerCase()).sort().join("\n")) return;
  throw stalled(
    table,
    `the primary key of table ${name} is (${primaryKey.join(", ")}), its series are told apart by (${
      wanted.join(", ")
    })`,
    `rename or drop ${name}: it is made anew`,
  );
}

/** `complete`: the hour still has all its rows, so that what is there may be replaced. */
function sumUpSql({ table, time, series, numbers }: Summary, complete: boolean): string {
  const target = quote(hourlyTable(table));
  const keys = series.map(({ name, isText }) => `COALESCE(${quote(name)}, ${isText ? "''" : "0"})`);
  const columns = numbers.map(({ name }) => ({
    names: (["min", "mean", "max", "count"] as const).map((it) => quote(hourlyColumn(name, it))),
    // The mean of exact numbers would have four digits more than they have.
    values: [
      `MIN(${quote(name)})`,
      `AVG(${quote(name)} + 0e0)`,
      `MAX(${quote(name)})`,
      `COUNT(${quote(name)})`,
    ],
    counted: `COUNT(${quote(name)})`,
  }));
  const names = [
    quote(HOUR_COLUMN),
    ...series.map(({ name }) => quote(name)),
    ...columns.flatMap((it) => it.names),
  ];
  const values = ["?", ...keys, ...columns.flatMap((it) => it.values)];
  // The count comes last: what stands before is decided by how it was.
  const updates = columns.flatMap(({ names }) =>
    names.map((it) =>
      `${it} = IF(VALUES(${names[3]}) >= ${target}.${names[3]}, VALUES(${it}), ${target}.${it})`
    )
  );
  const hour = quote(HOUR_COLUMN);
  return `INSERT INTO ${target} (${names.join(", ")}) SELECT ${values.join(", ")} FROM ${quote(table)} ` +
    `WHERE ${between(quote(time))}` +
    (keys.length > 0 ? ` GROUP BY ${keys.join(", ")}` : "") +
    ` HAVING ${columns.map((it) => it.counted).join(" + ")} > 0 ` +
    `ON DUPLICATE KEY UPDATE ${complete ? updates.join(", ") : `${hour} = ${target}.${hour}`}`;
}

const stalled = (table: string, message: string, hint?: string) =>
  new StallError(message, { lane: table, errno: null, hint });
