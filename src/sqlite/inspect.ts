/**
 * How what a route writes fits the embedded database's file as it is. Reads only; makes no file where there is none.
 */
import { DatabaseSync } from "node:sqlite";
import { parseColumnType } from "../column_type.ts";
import type { RowColumn, Shape } from "../message.ts";
import { addColumnSql, createTableSql, quote } from "./ddl.ts";

export interface SqliteFinding {
  readonly severity: "error" | "warning";
  readonly code: string;
  readonly message: string;
  readonly column?: string;
  readonly sql?: string;
}

interface Column {
  readonly name: string;
  readonly type: string;
  readonly required: boolean;
}

interface Table {
  readonly columns: readonly Column[];
  /** Of its primary key and unique indexes, each in lower case and in order of the alphabet. */
  readonly keys: readonly string[];
}

/** A file that is open to be looked at. */
export class SqliteInspection implements Disposable {
  readonly #db: DatabaseSync;

  /** Throws where the file is not there, cannot be read or is no database. */
  constructor(path: string) {
    this.#db = new DatabaseSync(path, { readOnly: true });
    try {
      this.#db.prepare("SELECT count(*) FROM sqlite_master").get();
    } catch (error) {
      this.#db.close();
      throw error;
    }
  }

  /** `createTables` and `addColumns` say what the gateway mends by itself. */
  compare(shape: Shape, mends: { createTables: boolean; addColumns: boolean }): SqliteFinding[] {
    const table = this.#table(shape.table);
    if (!table) {
      if (mends.createTables) return [];
      const message = `there is no table ${shape.table}, and "createTables" is false`;
      return [{
        severity: "error",
        code: "table-missing",
        message,
        sql: createTableSql(shape, []).join(";\n"),
      }];
    }
    return [...compareColumns(shape, table, mends.addColumns), ...compareKey(shape, table)];
  }

  get tables(): string[] {
    return this.#all<{ name: string }>("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')").map((
      { name },
    ) => name);
  }

  #table(name: string): Table | undefined {
    const rows = this.#all<{ name: string; type: string; notnull: number; dflt_value: unknown; pk: number }>(
      `PRAGMA table_info(${quote(name)})`,
    );
    if (rows.length === 0) return undefined;
    const primary = rows.filter((it) => it.pk > 0).map((it) => it.name);
    const rowid = primary.length === 1 && rows.some((it) => it.pk === 1 && /^INTEGER$/i.test(it.type));
    const indexes = this.#all<{ name: string; unique: number }>(`PRAGMA index_list(${quote(name)})`)
      .filter((it) => it.unique === 1)
      .map((it) => this.#all<{ name: string }>(`PRAGMA index_info(${quote(it.name)})`).map((at) => at.name));
    const text = (names: readonly string[]) => names.map((it) => it.toLowerCase()).sort().join(", ");
    return {
      columns: rows.map((it) => ({
        name: it.name,
        type: it.type.toUpperCase(),
        required: it.notnull === 1 && it.dflt_value === null && !(rowid && it.pk === 1),
      })),
      keys: [...new Set([...(primary.length > 0 ? [text(primary)] : []), ...indexes.map(text)])],
    };
  }

  #all<T>(sql: string): T[] {
    return this.#db.prepare(sql).all() as T[];
  }

  [Symbol.dispose](): void {
    this.#db.close();
  }
}

function compareColumns(shape: Shape, { columns }: Table, addColumns: boolean): SqliteFinding[] {
  const { table } = shape;
  const known = new Map(columns.map((it) => [it.name.toLowerCase(), it]));
  const findings = shape.columns.flatMap((column): SqliteFinding[] => {
    const there = known.get(column.name.toLowerCase());
    const finding = { column: column.name };
    if (!there) {
      if (addColumns) return [];
      return [{
        severity: "error",
        code: "column-missing",
        message: `table ${table} has no column ${column.name}`,
        sql: addColumnSql(shape, column, []),
        ...finding,
      }];
    }
    if (!givesText(column) || !/REAL|INT|FLOA|DOUB/.test(there.type)) return [];
    return [{
      severity: "error",
      code: "column-type",
      message: `column ${column.name} of ${table} is ${there.type}, the route gives ${
        column.type ?? "text"
      }: what is no number becomes a dead letter`,
      ...finding,
    }];
  });
  const written = new Set(shape.columns.map((it) => it.name.toLowerCase()));
  const required = columns.filter((it) => it.required && !written.has(it.name.toLowerCase()));
  return [
    ...findings,
    ...required.map((it): SqliteFinding => ({
      severity: "error",
      code: "column-needs-value",
      message: `column ${it.name} of ${table} is NOT NULL without a default, and the route does not write it`,
    })),
  ];
}

function givesText({ type, role }: RowColumn): boolean {
  if (role === "topic" || role === "gateway" || role === "received") return true;
  return type !== undefined && role === "value" && parseColumnType(type).family === "text";
}

/** What SQLite would refuse to every row: it overwrites only by a key that there is. */
function compareKey({ table, key, onDuplicateKey }: Shape, { keys }: Table): SqliteFinding[] {
  if (onDuplicateKey !== "update" || key.length === 0) return [];
  const wanted = key.map((it) => it.toLowerCase()).sort().join(", ");
  if (keys.includes(wanted)) return [];
  return [{
    severity: "error",
    code: "unique-key",
    message: `the route tells rows apart by (${key.join(", ")}), for which ${table} has no unique key`,
    sql: `CREATE UNIQUE INDEX ${quote(`${table}_key`)} ON ${quote(table)} (${key.map(quote).join(", ")})`,
  }];
}
