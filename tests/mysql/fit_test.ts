/**
 * What `check` says of a column is what the database does: every kind of value that a route gives, into every type of
 * column, in both databases.
 */
import assert from "node:assert/strict";
import type { RowColumn, SqlValue } from "../../src/message.ts";
import { connectMysql, type MysqlConnection } from "../../src/mysql/connect.ts";
import { misfitOf } from "../../src/mysql/fit.ts";
import { insertStatement } from "../../src/mysql/insert.ts";
import { inspectTable, type TableColumn } from "../../src/mysql/inspect.ts";
import { eachDatabase, testWith } from "../servers/needs.ts";

const typed = (type: string): RowColumn => ({ name: "c", type, role: "value" });
const of = (role: RowColumn["role"]): RowColumn => ({ name: "c", type: undefined, role });
const bytes = (text: string) => new TextEncoder().encode(text);

/** What a route gives, with the values that are at the limits of it; the first is an everyday one. */
const GIVEN: readonly (readonly [RowColumn, readonly SqlValue[]])[] = [
  [typed("boolean"), [true, false]],
  [typed("tinyint"), [21, -128, 127]],
  [typed("tinyint unsigned"), [21, 0, 255]],
  [typed("smallint"), [21, -32_768, 32_767]],
  [typed("int"), [21, -2_147_483_648, 2_147_483_647]],
  [typed("int unsigned"), [21, 0, 4_294_967_295]],
  [typed("bigint"), [21, -9_223_372_036_854_775_808n, 9_223_372_036_854_775_807n]],
  [typed("double"), [21.6, -0.125, 2_500_000.123_456_7]],
  [typed("decimal(5,2)"), ["21.65", "-999.99", "999.99"]],
  [typed("decimal(20,6)"), ["21.650001", "-99999999999999.999999", "99999999999999.999999"]],
  [typed("varchar(4)"), ["Küch", "x", "äöüß"]],
  [typed("varchar(40)"), ["Küche", "x", "ß".repeat(40)]],
  [typed("text"), ["Küche", "x", "x".repeat(65_535)]],
  [typed("mediumtext"), ["Küche", "x".repeat(70_000)]],
  [typed("binary(4)"), [Uint8Array.of(1, 2, 3, 4), Uint8Array.of(255, 254, 253, 252)]],
  [typed("json"), ['{"a":[1,2]}', `["${"x".repeat(70_000)}"]`, "21.5"]],
  [typed("datetime"), ["2026-01-31 12:34:56"]],
  [typed("datetime(3)"), ["2026-01-31 12:34:56.789", "2026-01-31 00:00:00.000"]],
  [typed("datetime(6)"), ["2026-01-31 12:34:56.789012"]],
  [typed("date"), ["2026-01-31"]],
  [typed("time"), ["12:34:56", "-12:34:56"]],
  [typed("time(3)"), ["12:34:56.789"]],
  [of("received"), ["2026-01-31 12:34:56.789"]],
  [of("topic"), ["Home/Küche/climate", `zigbee2mqtt/${"a".repeat(60)}`]],
  [of("level"), ["Küche", "21", "2026-01-31 12:34:56"]],
  [of("payload"), [bytes("21.5"), bytes(`{"a":1}`), bytes("x".repeat(65_000))]],
  [of("qos"), [1, 0, 2]],
  [of("retain"), [true, false]],
  [of("sequence"), [21, 1, 2 ** 40]],
];

const TYPES = [
  ...["tinyint", "smallint", "mediumint", "int", "bigint"].flatMap((it) => [it, `${it} unsigned`]),
  "tinyint(1)",
  "decimal(5,2)",
  "decimal(10,0)",
  "decimal(20,6)",
  "decimal(5,2) unsigned",
  "float",
  "double",
  "double unsigned",
  "bit(1)",
  "bit(8)",
  "year",
  "char(4)",
  "varchar(4)",
  "varchar(40)",
  "varchar(512)",
  "tinytext",
  "text",
  "mediumtext",
  "longtext",
  "binary(4)",
  "binary(16)",
  "varbinary(4)",
  "varbinary(512)",
  "tinyblob",
  "blob",
  "longblob",
  "json",
  "datetime",
  "datetime(3)",
  "datetime(6)",
  "timestamp",
  "timestamp(3)",
  "date",
  "time",
  "time(3)",
  "enum('on','off','21','Küche')",
  "set('on','off','21','Küche')",
];

/** What became of the values: how many were stored as they are. */
async function stored(
  connection: MysqlConnection,
  table: string,
  there: TableColumn,
  column: RowColumn,
  values: readonly SqlValue[],
): Promise<boolean[]> {
  // Bits as a number.
  const read = there.type === "bit" ? "c + 0" : "c";
  const shape = { table, columns: [column], key: [], onDuplicateKey: "error" as const };
  const results: boolean[] = [];
  for (const value of values) {
    await connection.query(`DELETE FROM ${table}`);
    try {
      await insertStatement(connection, [{ sequence: 1, shape, values: [value] }]);
      const [row] = await connection.query(`SELECT ${read} AS c FROM ${table}`);
      results.push(isSame(value, row.c));
    } catch (error) {
      assert.equal(typeof (error as { errno?: number }).errno, "number", String(error));
      results.push(false);
    }
  }
  return results;
}

function isSame(given: SqlValue, read: unknown): boolean {
  if (given instanceof Uint8Array) return sameBytes(given, read);
  if (typeof given === "boolean" || typeof given === "number" || typeof given === "bigint") {
    return isSameNumber(String(given), read);
  }
  const text = read instanceof Uint8Array ? new TextDecoder().decode(read) : String(read);
  if (text === given) return true;
  // A number written otherwise, JSON with blanks, a date with its midnight, a time without zeros behind the point.
  if (/^-?[\d.]+$/.test(given!)) return isSameNumber(given!, read) || isSameJson(given!, read);
  const plain = (it: string) => it.replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");
  return isSameJson(given!, read) || plain(text) === plain(given!) || text === `${given} 00:00:00` ||
    plain(text) === `${given} 00:00:00`;
}

function isSameJson(given: string, read: unknown): boolean {
  try {
    const value = typeof read === "string" || read instanceof Uint8Array ? JSON.parse(asText(read)) : read;
    assert.deepEqual(value, JSON.parse(given));
    return true;
  } catch {
    return false;
  }
}

const asText = (it: string | Uint8Array) => typeof it === "string" ? it : new TextDecoder().decode(it);

function isSameNumber(written: string, read: unknown): boolean {
  const text = read instanceof Uint8Array ? asText(read) : String(read);
  const plain = (it: string) => it.includes(".") ? it.replace(/\.?0+$/, "") : it;
  return plain(text) === plain(written === "true" ? "1" : written === "false" ? "0" : written);
}

function sameBytes(given: Uint8Array, read: unknown): boolean {
  const there = read instanceof Uint8Array
    ? read
    : bytes(typeof read === "string" ? read : JSON.stringify(read));
  return there.toHex() === given.toHex();
}

/** What is said, and what was seen: a sentence where they contradict each other. */
function contradiction(
  given: RowColumn,
  there: TableColumn,
  seen: readonly boolean[],
): string | undefined {
  const said = misfitOf(given, there);
  const fits = seen.every(Boolean);
  const what = `${given.type ?? `@${given.role}`} -> ${there.sqlType}: ${seen}`;
  if (said === null) return fits ? undefined : `${what}, nothing is said`;
  if (said.severity === "note") return undefined;
  if (said.severity === "error") return seen[0] ? `${what}, an error is said: ${said.sentence}` : undefined;
  return fits ? `${what}, a warning is said: ${said.sentence}` : undefined;
}

eachDatabase((flavour, start) => {
  testWith(
    [flavour],
    `what check says of a column is what ${flavour} does with what a route gives`,
    async () => {
      await using server = await start();
      const { port } = server;
      const connection = await connectMysql({
        host: "127.0.0.1",
        port,
        user: "sluice",
        database: "home",
        password: () => Promise.resolve("secret"),
      });
      const wrong: string[] = [];
      for (const [i, type] of TYPES.entries()) {
        await connection.query(`CREATE TABLE t${i} (c ${type} NULL) CHARACTER SET utf8mb4`);
        const [there] = (await inspectTable(connection, `t${i}`))!.columns;
        for (const [given, values] of GIVEN) {
          const problem = contradiction(
            given,
            there,
            await stored(connection, `t${i}`, there, given, values),
          );
          if (problem) wrong.push(problem);
        }
      }
      connection.destroy();
      assert.deepEqual(wrong, []);
    },
  );
});
