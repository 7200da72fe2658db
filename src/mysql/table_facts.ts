/**
 * A table as the server has it, as far as upkeep must know: columns, keys, partitions. It changes nothing.
 */
import type { MysqlConnection } from "./connect.ts";
import type { PartitionRow } from "./partitions.ts";

export interface FactColumn {
  readonly name: string;
  /** `varchar`. */
  readonly type: string;
  /** As SQL: `varchar(64)`. */
  readonly sql: string;
  readonly charset: string | null;
  readonly collation: string | null;
}

export interface TableFacts {
  readonly columns: readonly FactColumn[];
  /** Of the primary key, in order. */
  readonly primaryKey: readonly string[];
  /** The first column of each index. */
  readonly indexed: readonly string[];
  /** Empty where it has none. */
  readonly partitions: readonly PartitionRow[];
}

const OF_TABLE = "table_schema = DATABASE() AND table_name = ?";

/** Undefined where there is no such table. */
export async function tableFacts(
  connection: MysqlConnection,
  table: string,
): Promise<TableFacts | undefined> {
  const columns = await connection.execute(
    `SELECT column_name AS name, data_type AS type, column_type AS \`sql\`, character_set_name AS charset,
       collation_name AS \`collation\` FROM information_schema.columns WHERE ${OF_TABLE} ORDER BY ordinal_position`,
    [table],
  );
  if (columns.length === 0) return undefined;
  const keys: { name: string; column: string; position: number }[] = await connection.execute(
    `SELECT index_name AS name, column_name AS \`column\`, seq_in_index AS position
     FROM information_schema.statistics WHERE ${OF_TABLE} ORDER BY index_name, seq_in_index`,
    [table],
  );
  const partitions = await connection.execute(
    `SELECT partition_name AS name, partition_method AS method, partition_expression AS expression,
       partition_description AS description FROM information_schema.partitions
     WHERE ${OF_TABLE} AND partition_name IS NOT NULL ORDER BY partition_ordinal_position`,
    [table],
  );
  return {
    columns: columns.map((row: Record<keyof FactColumn, unknown>): FactColumn => ({
      name: String(row.name),
      type: String(row.type).toLowerCase(),
      sql: String(row.sql),
      charset: row.charset === null ? null : String(row.charset),
      collation: row.collation === null ? null : String(row.collation),
    })),
    primaryKey: keys.filter((it) => it.name === "PRIMARY").map((it) => it.column),
    indexed: keys.filter((it) => Number(it.position) === 1).map((it) => it.column),
    partitions,
  };
}

/** A name's column, in whatever letters the table was made with. */
export function factOf({ columns }: TableFacts, name: string): FactColumn | undefined {
  return columns.find((it) => it.name.toLowerCase() === name.toLowerCase());
}

/** Whether rows can be found by this column without reading all of them. */
export function isIndexed({ indexed }: TableFacts, name: string): boolean {
  return indexed.some((it) => it.toLowerCase() === name.toLowerCase());
}
