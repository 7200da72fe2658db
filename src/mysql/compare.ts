/**
 * How what a route writes fits the table as it is: every difference with the SQL that mends it. Pure.
 */
import type { RowColumn, Shape } from "../message.ts";
import { addColumnsSql, columnType, createTableSql, quote } from "./ddl.ts";
import { type Misfit, misfitOf } from "./fit.ts";
import type { TableColumn, TableFacts } from "./inspect.ts";

/** One thing that does not fit, and the SQL that mends it. `column` names the route's column it is about. */
export interface TableFinding {
  readonly severity: "error" | "warning" | "note";
  readonly code: string;
  readonly message: string;
  readonly column?: string;
  readonly sql?: string;
}

/** What the gateway mends by itself. */
export interface Mends {
  readonly createTables: boolean;
  readonly addColumns: boolean;
}

export function compareTable(shape: Shape, facts: TableFacts | null, mends: Mends): TableFinding[] {
  if (facts === null) {
    if (mends.createTables) return [];
    const message = `there is no table ${shape.table}, and "createTables" is false`;
    return [{ severity: "error", code: "table-missing", message, sql: createTableSql(shape) }];
  }
  const known = new Map(facts.columns.map((it) => [it.name.toLowerCase(), it]));
  return [
    ...shape.columns.flatMap((column) => {
      const there = known.get(column.name.toLowerCase());
      return there ? compareColumn(shape, column, there) : missingColumn(shape, column, mends);
    }),
    ...unwrittenColumns(shape, facts),
    ...nullableColumns(shape, known),
    ...compareKeys(shape, facts),
    ...compareEngine(shape, facts),
  ];
}

function missingColumn(shape: Shape, column: RowColumn, { addColumns }: Mends): TableFinding[] {
  if (addColumns) return [];
  return [{
    severity: "error",
    code: "column-missing",
    column: column.name,
    message: `table ${shape.table} has no column ${column.name}`,
    sql: addColumnsSql(shape, [column]),
  }];
}

interface Change {
  readonly type?: string;
  readonly utf8mb4?: boolean;
  readonly nullable?: boolean;
}

/** The column's whole definition, so that one statement mends all that is wrong with it and leaves the rest as it was. */
function definition(there: TableColumn, change: Change): string {
  const type = change.type ?? there.sqlType;
  const isText = /^(var)?char|text$|^enum|^set/i.test(type.replace(/\(.*/s, ""));
  // A time of now has to have as many digits as its column.
  const digits = /^(?:datetime|timestamp)(\(\d\))?/i.exec(type);
  const rest = digits
    ? there.rest.replace(/(current_timestamp)(\(\d*\))?/gi, `$1${digits[1] ?? ""}`)
    : there.rest;
  return [
    quote(there.name),
    type,
    ...(isText && change.utf8mb4 ? ["CHARACTER SET utf8mb4"] : []),
    change.nullable ?? there.nullable ? "NULL" : "NOT NULL",
    ...(rest ? [rest] : []),
  ].join(" ");
}

function redefined(table: string, there: TableColumn, change: Change): string {
  return `ALTER TABLE ${quote(table)} MODIFY ${definition(there, change)}`;
}

/** Character sets that were chosen for what they leave out. */
const NARROW_ON_PURPOSE = ["ascii", "binary"];

function compareColumn(shape: Shape, column: RowColumn, there: TableColumn): TableFinding[] {
  const name = `column ${column.name} of ${shape.table}`;
  if (there.generated) {
    const message =
      `${name} is computed by the database, which refuses what the route gives: leave it out of "columns"`;
    return [{ severity: "error", code: "column-generated", column: column.name, message }];
  }
  const misfit = misfitOf(column, there);
  const change = changesFor(column, there);
  const sql = redefined(shape.table, there, change);
  const findings: TableFinding[] = [];
  if (misfit) {
    const { severity, code, sentence } = misfit;
    findings.push({
      severity,
      code,
      column: column.name,
      message: `${name} ${sentence}`,
      ...(change.type !== undefined && { sql }),
    });
  }
  if (isLatin(column, there)) {
    findings.push({
      severity: "warning",
      code: "not-utf8mb4",
      column: column.name,
      message:
        `${name} is ${there.charset}: a text with an emoji, or with what else it lacks, is refused (error 1366)`,
      sql,
    });
  }
  return findings;
}

/** What would have to become of a column for what the route gives. */
function changesFor(column: RowColumn, there: TableColumn): Change {
  const misfit = misfitOf(column, there);
  const isText = there.charset !== null;
  return {
    ...(misfit && wouldMend(misfit, column) && { type: columnType(column).sql }),
    // A type that is written without it would take the table's.
    ...((isLatin(column, there) || misfit && isText) && { utf8mb4: true }),
  };
}

function isLatin(column: RowColumn, { charset }: TableColumn): boolean {
  return takesText(column) && charset !== null && charset !== "utf8mb4" &&
    !NARROW_ON_PURPOSE.includes(charset);
}

/** A column without a declared type or a role says nothing about what would be better. */
function wouldMend({ severity }: Misfit, { type, role }: RowColumn): boolean {
  return severity !== "note" && (type !== undefined || role !== "value" && role !== "time");
}

/** Numbers and times are ASCII in any character set. */
function takesText({ type, role }: RowColumn): boolean {
  if (["received", "qos", "retain", "sequence"].includes(role)) return false;
  return type === undefined || role === "topic" || role === "payload" || role === "gateway" ||
    /char|text|json|binary|blob/i.test(type);
}

/** Columns that must have a value and get none. */
function unwrittenColumns(
  shape: Shape,
  { columns, uniqueKeys, hasInsertTrigger }: TableFacts,
): TableFinding[] {
  const written = new Set(shape.columns.map((it) => it.name.toLowerCase()));
  const primary = uniqueKeys.find((it) => it.name === "PRIMARY")?.columns ?? [];
  return columns.filter((it) => !written.has(it.name.toLowerCase()) && !it.nullable && !it.hasDefault).map(
    (column) => ({
      severity: hasInsertTrigger ? "warning" : "error",
      code: "column-needs-value",
      message:
        `column ${column.name} of ${shape.table} is NOT NULL without a default, and the route does not write it${
          hasInsertTrigger ? ", unless the table's trigger does" : ""
        }`,
      sql: valueSql(shape.table, column, primary),
    }),
  );
}

function valueSql(table: string, column: TableColumn, primary: readonly string[]): string | undefined {
  if (!primary.includes(column.name)) return redefined(table, column, { nullable: true });
  const isNumber = /int/.test(column.type) && primary.length === 1;
  return isNumber
    ? `ALTER TABLE ${quote(table)} MODIFY ${quote(column.name)} ${column.sqlType} NOT NULL AUTO_INCREMENT`
    : undefined;
}

/** A key that is missing in the payload is NULL, which these columns refuse. */
function nullableColumns(shape: Shape, known: ReadonlyMap<string, TableColumn>): TableFinding[] {
  const strict = shape.columns.filter((it) =>
    ["value", "time"].includes(it.role) && !shape.key.includes(it.name)
  ).flatMap(
    (column) => {
      const there = known.get(column.name.toLowerCase());
      return there && !there.nullable && !there.generated ? [{ column, there }] : [];
    },
  );
  if (strict.length === 0) return [];
  const names = strict.map((it) => it.column.name);
  // With all else that is wrong with it, so that this does not undo what was mended before.
  const changes = strict.map(({ column, there }) =>
    definition(there, { ...changesFor(column, there), nullable: true })
  );
  return [{
    severity: "warning",
    code: "column-not-null",
    column: names[0],
    message: `${names.length === 1 ? "column" : "columns"} ${names.join(", ")} of ${shape.table} ${
      names.length === 1 ? "is" : "are"
    } NOT NULL: a message without a value for ${
      names.length === 1 ? "it" : "one of them"
    } becomes a dead letter (error 1048)`,
    sql: `ALTER TABLE ${quote(shape.table)} MODIFY ${changes.join(", MODIFY ")}`,
  }];
}

function compareKeys(shape: Shape, { columns, uniqueKeys, kind }: TableFacts): TableFinding[] {
  if (kind === "view") return [];
  const auto = new Set(columns.filter((it) => it.autoIncrement).map((it) => it.name.toLowerCase()));
  const own = new Map(shape.columns.map((it) => [it.name.toLowerCase(), it]));
  const keys = uniqueKeys.map((it) => it.columns.map((name) => name.toLowerCase()))
    .filter((names) => !names.some((name) => auto.has(name) && !own.has(name)));
  if (shape.onDuplicateKey !== "error") return overwrites(shape, keys);
  // Nothing in the key tells one message of a topic from the next.
  const fixed = keys.find((names) =>
    names.every((name) => ["topic", "level", "gateway"].includes(own.get(name)?.role ?? "value"))
  );
  if (!fixed) return [];
  return [{
    severity: "warning",
    code: "unique-key",
    message: `the key (${fixed.join(", ")}) of ${shape.table} lets a topic have one row: ` +
      `its second message becomes a dead letter (error 1062), unless the route says "onDuplicateKey": "update"`,
  }];
}

function overwrites(shape: Shape, keys: readonly (readonly string[])[]): TableFinding[] {
  const { table, key, onDuplicateKey } = shape;
  const text = (names: readonly string[]) => names.map((it) => it.toLowerCase()).sort().join(", ");
  const wanted = key.length > 0
    ? `ALTER TABLE ${quote(table)} ADD UNIQUE KEY (${key.map(quote).join(", ")})`
    : undefined;
  const what = onDuplicateKey === "update" ? "overwrites nothing" : "ignores nothing";
  if (keys.length === 0) {
    const message =
      `table ${table} has no unique key among the route's columns, so "onDuplicateKey": "${onDuplicateKey}" ${what}: each message makes a row`;
    return [{ severity: "warning", code: "unique-key", message, sql: wanted }];
  }
  if (key.length === 0 || keys.some((it) => text(it) === text(key))) return [];
  const there = keys.map((it) => `(${it.join(", ")})`).join(" and ");
  const message = `the route tells rows apart by (${key.join(", ")}), the table ${table} by ${there}`;
  return [{ severity: "warning", code: "unique-key", message, sql: wanted }];
}

function compareEngine({ table }: Shape, { engine, kind }: TableFacts): TableFinding[] {
  if (kind === "view") {
    const message =
      `${table} is a view: whether the table behind it has transactions cannot be seen from here`;
    return [{ severity: "note", code: "view", message }];
  }
  if (/^innodb$/i.test(engine)) return [];
  return [{
    severity: "warning",
    code: "not-transactional",
    message:
      `table ${table} is ${engine}, which has no transactions: after a crash rows may be written twice`,
    sql: `ALTER TABLE ${quote(table)} ENGINE=InnoDB`,
  }];
}
