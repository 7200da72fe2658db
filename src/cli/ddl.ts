/**
 * `sluice ddl`: the tables that the routes need, as SQL. Talks to nobody.
 */
import { loadConfig } from "../config/load.ts";
import { UsageError } from "../errors.ts";
import { createTableSql, LEDGER_SQL } from "../mysql/ddl.ts";
import { hourlyTableSql } from "../mysql/hourly.ts";
import { shapesOf } from "../route/mod.ts";
import { type Command, CONFIG_OPTION } from "./command.ts";

export const ddl: Command = {
  name: "ddl",
  usage: "-c FILE",
  summary: "the tables that the routes need, as SQL",
  options: { config: CONFIG_OPTION },
  async run({ values }, io) {
    if (typeof values.config !== "string") throw new UsageError("ddl needs a configuration: -c FILE");
    const { config } = await loadConfig(values.config);
    io.out(`${LEDGER_SQL};\n`);
    const untyped = new Set<string>();
    const tables = new Set<string>();
    for (const shape of shapesOf(config.routes)) {
      for (const column of shape.columns) {
        if (column.role === "value" && column.type === undefined) untyped.add(column.name);
      }
      tables.add(`${createTableSql(shape)};\n`);
      const hourly = hourlyTableSql(shape);
      if (hourly !== undefined) tables.add(`${hourly};\n`);
    }
    for (const sql of tables) io.out(sql);
    if (untyped.size > 0) {
      io.err(
        `note: without a "type" these are taken for numbers: ${
          [...untyped].join(", ")
        }; where the gateway makes the table, the first value decides`,
      );
    }
    return 0;
  },
};
