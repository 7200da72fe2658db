/**
 * What a database says about itself and its tables, and how that fits a route: pure comparison, SQL that mends.
 */
import { parseColumnType } from "../column_type.ts";
import type { Shape } from "../message.ts";
import type { MysqlConnection } from "./connect.ts";
import { addColumnsSql, createTableSql, quote } from "./ddl.ts";

export interface TableColumn {
  readonly name: string;
  /** `data_type` of information_schema: `varchar`. */
  readonly type: string;
  readonly length: number | null;
  readonly nullable: boolean;
  readonly hasDefault: boolean;
  readonly charset: string | null;
}

export interface TableFacts {
  readonly engine: string;
  readonly columns: readonly TableColumn[];
}

export interface ServerFacts {
  readonly version: string;
  readonly waitTimeoutS: number;
  readonly connectionsMax: number;
  readonly packetBytesMax: number;
  readonly readOnly: boolean;
}

/** One thing that does not fit, and the SQL that mends it. `column` names the route's column it is about. */
export interface TableFinding {
  readonly severity: "error" | "warning";
  readonly code: string;
  readonly message: string;
  readonly column?: string;
  readonly sql?: string;
}

export async function inspectServer(connection: MysqlConnection): Promise<ServerFacts> {
  const [row] = await connection.query(
    `SELECT VERSION() AS version, @@global.wait_timeout AS wait_timeout, @@max_connections AS connections,
       @@max_allowed_packet AS packet, @@global.read_only AS read_only`,
  );
  return {
    version: String(row.version),
    waitTimeoutS: Number(row.wait_timeout),
    connectionsMax: Number(row.connections),
    packetBytesMax: Number(row.packet),
    readOnly: Number(row.read_only) !== 0,
  };
}

/** The table as information_schema knows it; null where it does not exist, or is hidden from this user. */
export async function inspectTable(connection: MysqlConnection, table: string): Promise<TableFacts | null> {
  const [facts] = await connection.execute(
    "SELECT engine AS engine FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?",
    [table],
  );
  if (!facts) return null;
  const rows = await connection.execute(
    `SELECT column_name AS name, data_type AS type, character_maximum_length AS length, is_nullable AS nullable,
       column_default AS preset, extra AS extra, character_set_name AS charset
     FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ? ORDER BY ordinal_position`,
    [table],
  );
  const columns = rows.map((row: Record<string, string | number | null>): TableColumn => ({
    name: String(row.name),
    type: String(row.type).toLowerCase(),
    length: row.length === null ? null : Number(row.length),
    nullable: row.nullable === "YES",
    hasDefault: row.preset !== null || /auto_increment|GENERATED/i.test(String(row.extra)),
    charset: row.charset === null ? null : String(row.charset),
  }));
  return { engine: String(facts.engine ?? ""), columns };
}

/** Compares what a route writes with the table as it is. `createTables` and `addColumns` say what the gateway mends by itself. */
export function compareTable(
  shape: Shape,
  facts: TableFacts | null,
  { createTables, addColumns }: { createTables: boolean; addColumns: boolean },
): TableFinding[] {
  if (facts === null) {
    if (createTables) return [];
    return [{
      severity: "error",
      code: "table-missing",
      message: `there is no table ${shape.table}`,
      sql: createTableSql(shape),
    }];
  }
  const findings: TableFinding[] = [];
  const known = new Map(facts.columns.map((it) => [it.name.toLowerCase(), it]));
  for (const column of shape.columns) {
    const there = known.get(column.name.toLowerCase());
    if (!there) {
      if (addColumns) continue;
      const sql = addColumnsSql(shape, [column]);
      findings.push({
        severity: "error",
        code: "column-missing",
        column: column.name,
        message: `table ${shape.table} has no column ${column.name}`,
        sql,
      });
      continue;
    }
    findings.push(...compareColumn(shape, column, there));
  }
  const written = new Set(shape.columns.map((it) => it.name.toLowerCase()));
  for (const column of facts.columns) {
    if (written.has(column.name.toLowerCase()) || column.nullable || column.hasDefault) continue;
    findings.push({
      severity: "error",
      code: "column-needs-value",
      message:
        `column ${column.name} of ${shape.table} is NOT NULL without a default, and the route does not write it`,
      sql: `ALTER TABLE ${quote(shape.table)} ALTER COLUMN ${quote(column.name)} SET DEFAULT ...`,
    });
  }
  if (!/innodb/i.test(facts.engine)) {
    findings.push({
      severity: "warning",
      code: "not-transactional",
      message:
        `table ${shape.table} is ${facts.engine}, which has no transactions: after a crash rows may be written twice`,
      sql: `ALTER TABLE ${quote(shape.table)} ENGINE=InnoDB`,
    });
  }
  return findings;
}

function compareColumn(shape: Shape, column: Shape["columns"][number], there: TableColumn): TableFinding[] {
  const findings: TableFinding[] = [];
  const name = `${shape.table}.${column.name}`;
  const modify = (type: string) => `ALTER TABLE ${quote(shape.table)} MODIFY ${quote(column.name)} ${type}`;
  if (there.charset !== null && there.charset !== "utf8mb4" && !["ascii", "binary"].includes(there.charset)) {
    const type = there.type === "varchar" || there.type === "char"
      ? `${there.type}(${there.length})`
      : there.type;
    findings.push({
      severity: "warning",
      code: "not-utf8mb4",
      column: column.name,
      message: `column ${name} is ${there.charset}: a text with an emoji will be refused (error 1366)`,
      sql: modify(`${type} CHARACTER SET utf8mb4`),
    });
  }
  const wanted = column.type === undefined ? undefined : parseColumnType(column.type);
  if (
    wanted?.length !== undefined && there.length !== null && there.length < wanted.length &&
    wanted.family === "text"
  ) {
    findings.push({
      severity: "warning",
      code: "column-too-short",
      column: column.name,
      message: `column ${name} takes ${there.length} characters, the route gives up to ${wanted.length}`,
      sql: modify(wanted.sql),
    });
  }
  const numbers = ["integer", "decimal", "float", "boolean"];
  const isNumber = /int|decimal|float|double|bit/.test(there.type);
  if (
    wanted && numbers.includes(wanted.family) !== isNumber &&
    (numbers.includes(wanted.family) || wanted.family === "text" || wanted.family === "json")
  ) {
    if (isNumber) {
      findings.push({
        severity: "error",
        code: "column-type",
        column: column.name,
        message: `column ${name} is ${there.type}, the route gives ${wanted.sql}`,
        sql: modify(wanted.sql),
      });
    }
  }
  return findings;
}
