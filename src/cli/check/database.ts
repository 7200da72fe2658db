/**
 * The database as it really is: whether it lets us in, and then its limits and its tables.
 */
import { messageOf } from "../../errors.ts";
import { mysqlSettings } from "../../gateway/parts.ts";
import { databaseAddress } from "../../mysql/address.ts";
import { errnoOf } from "../../mysql/classify.ts";
import { connectMysql, type MysqlConnection } from "../../mysql/connect.ts";
import { logInHint } from "../trial.ts";
import type { FileReport } from "./report.ts";
import { checkServer } from "./server.ts";
import { checkSqlite } from "./sqlite.ts";
import { checkTables } from "./tables.ts";

/** False where the database is out of reach. */
export async function checkDatabase(report: FileReport, signal: AbortSignal): Promise<boolean> {
  const { database } = report.loaded.config;
  if (database.url.startsWith("sqlite:")) {
    return await checkSqlite(report, database.url.slice("sqlite:".length));
  }
  let connection: MysqlConnection;
  try {
    connection = await connectMysql({ ...mysqlSettings(database), signal });
  } catch (error) {
    signal.throwIfAborted();
    notLetIn(report, error);
    return false;
  }
  try {
    await checkServer(report, connection);
    await checkTables(report, connection);
    return true;
  } finally {
    await connection.close().catch(() => {});
    connection.destroy();
  }
}

function notLetIn(report: FileReport, error: unknown): void {
  const errno = errnoOf(error);
  const address = databaseAddress(report.loaded.config.database.url);
  report.at(["database", "url"], {
    severity: "error",
    code: "database",
    message: `no log-in to the database: ${messageOf(error)}${errno ? ` (error ${errno})` : ""}`,
    fix: address.kind === "mysql" ? logInHint(error, address) : undefined,
  });
}
