/**
 * SQL text for tables: the ledger, tables that the gateway makes, columns that it adds. Identifiers are quoted; types
 * come from `parseColumnType`, so that nothing of a message or a configuration becomes SQL by accident.
 */
import { parseColumnType } from "../column_type.ts";
import type { Row, RowColumn, Shape, SqlValue } from "../message.ts";

export function quote(identifier: string): string {
  if (identifier === "" || identifier.includes("\0")) {
    throw new TypeError(`${JSON.stringify(identifier)} cannot be an identifier`);
  }
  return "`" + identifier.replaceAll("`", "``") + "`";
}

export const LEDGER_SQL = `CREATE TABLE IF NOT EXISTS sluice_ledger (
  spool CHAR(36) CHARACTER SET ascii NOT NULL,
  lane VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  upto BIGINT UNSIGNED NOT NULL,
  updated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
  PRIMARY KEY (spool, lane)
) ENGINE=InnoDB`;

const BY_ROLE: Readonly<Record<Exclude<RowColumn["role"], "value">, string>> = {
  received: "DATETIME(3) NOT NULL",
  topic: "VARCHAR(512) NOT NULL",
  payload: "LONGBLOB NOT NULL",
  qos: "TINYINT UNSIGNED NOT NULL",
  retain: "BOOLEAN NOT NULL",
  gateway: "VARCHAR(255) NOT NULL",
  sequence: "BIGINT UNSIGNED NOT NULL",
  level: "VARCHAR(255) NOT NULL",
};

/** The type of a column without one in the configuration: what its first value shows, or a number where there is none. */
function inferred(sample: SqlValue | undefined): string {
  switch (typeof sample) {
    case "boolean":
      return "BOOLEAN";
    case "bigint":
      return "BIGINT";
    case "string":
      return sample.length > 100 ? "TEXT" : "VARCHAR(255)";
    case "object":
      return sample === null ? "DOUBLE" : "LONGBLOB";
    default:
      return "DOUBLE";
  }
}

export function columnSql({ name, type, role }: RowColumn, sample?: SqlValue): string {
  if (type !== undefined) return `${quote(name)} ${parseColumnType(type).sql} NULL`;
  if (role !== "value") return `${quote(name)} ${BY_ROLE[role]}`;
  return `${quote(name)} ${inferred(sample)} NULL`;
}

/** `CREATE TABLE` for a shape. `rows` show the types of columns that have none in the configuration. */
export function createTableSql(shape: Shape, rows: readonly Row[] = []): string {
  const sampleOf = (i: number) =>
    rows.map((row) => row.values[i]).find((value) => value !== null && value !== undefined);
  const columns = shape.columns.map((column, i) => {
    const sql = columnSql(column, sampleOf(i));
    return shape.key.includes(column.name) ? sql.replace(/(?<!NOT) NULL$/, " NOT NULL") : sql;
  });
  const ownId = shape.key.length === 0 && !shape.columns.some((it) => it.name.toLowerCase() === "id");
  const lines = [
    ...(ownId ? ["`id` BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY"] : []),
    ...columns,
    ...(shape.key.length > 0 ? [`PRIMARY KEY (${shape.key.map(quote).join(", ")})`] : []),
    ...shape.columns.filter((it) => it.role === "received").map((it) => `KEY (${quote(it.name)})`),
  ];
  return `CREATE TABLE IF NOT EXISTS ${quote(shape.table)} (\n  ${
    lines.join(",\n  ")
  }\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4`;
}

export function addColumnsSql(table: string, columns: readonly string[]): string {
  return `ALTER TABLE ${quote(table)} ${columns.map((it) => `ADD COLUMN ${it}`).join(", ")}`;
}
