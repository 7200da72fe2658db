/**
 * What `check` can say of a route's retention and hourly summary before the gateway runs: what would be slow, and what
 * would stand in its way. It changes nothing.
 */
import { HOUR_COLUMN, hourlyTable } from "../hourly.ts";
import type { Shape } from "../message.ts";
import { designOf } from "../table_design.ts";
import type { MysqlConnection } from "./connect.ts";
import { hourlyTableSql } from "./hourly.ts";
import { quote } from "./identifier.ts";
import type { TableFinding } from "./inspect.ts";
import { factOf, isIndexed, tableFacts } from "./table_facts.ts";

export async function upkeepFindings(
  connection: MysqlConnection,
  shape: Shape,
  { createTables }: { createTables: boolean },
): Promise<TableFinding[]> {
  const { table } = shape;
  const { time, retentionMs, hourly, series } = designOf(shape);
  if (time === undefined || retentionMs === undefined && !hourly) return [];
  const findings: TableFinding[] = [];
  const facts = await tableFacts(connection, table);
  if (facts && factOf(facts, time) && !isIndexed(facts, time)) {
    findings.push({
      severity: "warning",
      code: "time-not-indexed",
      column: time,
      message:
        `no index of ${table} begins with ${time}: to find old rows or those of an hour, all of it is read`,
      sql: `ALTER TABLE ${quote(table)} ADD KEY (${quote(time)})`,
    });
  }
  if (!hourly) return findings;
  const summary = hourlyTable(table);
  const there = await tableFacts(connection, summary);
  if (!there && !createTables) {
    const sql = hourlyTableSql(shape);
    findings.push({ severity: "error", code: "table-missing", message: `there is no table ${summary}`, sql });
  }
  const text = (names: readonly string[]) => names.map((it) => it.toLowerCase()).sort().join(", ");
  const [wanted, key] = [text([...series, HOUR_COLUMN]), text(there?.primaryKey ?? [])];
  if (there && wanted !== key) {
    findings.push({
      severity: "error",
      code: "hourly-series",
      message: `the primary key of ${summary} is (${key}), its series are told apart by (${wanted})`,
      sql: `RENAME TABLE ${quote(summary)} TO ${quote(`${summary.slice(0, 60)}_old`)}`,
    });
  }
  return findings;
}
