/**
 * The embedded database: whether its file can be written, and how its tables fit the routes.
 */
import { dirname } from "node:path";
import { messageOf } from "../../errors.ts";
import { shapesOf } from "../../route/mod.ts";
import { SqliteInspection } from "../../sqlite/inspect.ts";
import { checkFolder } from "./folder.ts";
import type { FileReport } from "./report.ts";

const PATH = ["database", "url"];

/** False where the file cannot be used. */
export async function checkSqlite(report: FileReport, file: string): Promise<boolean> {
  const exists = await Deno.stat(file).then((it) => it.isFile, () => undefined);
  if (exists === undefined) {
    // SQLite makes the file, but no folder.
    const isFolder = await Deno.stat(dirname(file)).then((it) => it.isDirectory, () => false);
    if (!isFolder) {
      report.at(PATH, {
        severity: "error",
        code: "database",
        message: `the folder ${dirname(file)} for the embedded database does not exist`,
        fix: `mkdir -p '${dirname(file)}'`,
      });
      return false;
    }
    if (!await checkFolder(report, PATH, dirname(file), "the embedded database")) return false;
    report.good(`the embedded database will lie in ${file}`);
    return true;
  }
  if (!exists) {
    report.at(PATH, {
      severity: "error",
      code: "database",
      message: `${file} is no file, so it can be no database`,
    });
    return false;
  }
  if (!await checkFolder(report, PATH, dirname(file), "the embedded database")) return false;
  try {
    using database = new SqliteInspection(file);
    compareAll(report, database);
    report.good(`the embedded database ${file} can be read`);
    return true;
  } catch (error) {
    report.at(PATH, {
      severity: "error",
      code: "database",
      message: `the embedded database ${file} cannot be read: ${messageOf(error)}`,
      fix: "may this user read it, and is it a database? Give it another name to begin a new one",
    });
    return false;
  }
}

function compareAll(report: FileReport, database: SqliteInspection): void {
  const { config } = report.loaded;
  const said = new Set<string>();
  for (const [i, shape] of shapesOf(config.routes).entries()) {
    if (shape.table.includes("{")) continue;
    for (const { column, sql, ...finding } of database.compare(shape, config.database)) {
      if (said.size === said.add(finding.message).size) continue;
      report.atRoute(i, { ...finding, fix: sql }, column);
    }
  }
}
