/**
 * `sluice check`: everything that can be known to be wrong before the first message: the file, then the broker and the
 * database as they really are. The last line is the verdict.
 */
import { type Finding, formatFinding, placeOf } from "../config/finding.ts";
import { loadConfig, type LoadedConfig, placeInFile, WrongConfigurationError } from "../config/load.ts";
import { unreadable } from "../config/outside.ts";
import { messageOf, UsageError } from "../errors.ts";
import { mysqlSettings, probeOf } from "../gateway/parts.ts";
import { classify, errnoOf } from "../mysql/classify.ts";
import { connectMysql, type MysqlConnection } from "../mysql/connect.ts";
import { compareTable, inspectServer, inspectTable } from "../mysql/inspect.ts";
import { upkeepFindings } from "../mysql/upkeep_check.ts";
import { shapesOf } from "../route/mod.ts";
import { formatDuration } from "../units.ts";
import { type Command, CONFIG_OPTION, type Io, JSON_OPTION } from "./command.ts";

export const check: Command = {
  name: "check",
  usage: "-c FILE [--offline]",
  summary: "validates, logs in to broker and database, compares routes with tables",
  options: {
    config: CONFIG_OPTION,
    offline: { type: "boolean", summary: "only the file; talk to nobody" },
    json: JSON_OPTION,
  },
  async run({ values }, io) {
    const path = values.config;
    if (typeof path !== "string") throw new UsageError("check needs a configuration: -c FILE");
    const report = new Report(io, values.json === true);
    let loaded: LoadedConfig;
    try {
      loaded = await loadConfig(path);
    } catch (error) {
      if (!(error instanceof WrongConfigurationError)) throw error;
      report.add(error.findings, error.source);
      if (error.findings.length === 0) {
        report.add(
          [{ ...NOWHERE, file: path, severity: "error", code: "file", message: messageOf(error) }],
          undefined,
        );
      }
      return report.verdict(path, 78);
    }
    report.add(loaded.warnings, loaded.source);
    // Offline it may well be another machine than the gateway's, with other files and variables.
    const severity = values.offline ? "warning" : "error";
    const missing = await unreadable(loaded.config);
    for (const { path, message } of missing) {
      report.add(...at(loaded, path, { severity, code: "unreadable", message }));
    }
    if (values.offline) return report.verdict(path, 0);
    if (missing.length > 0) return report.verdict(path, 78);
    const reached = [
      await checkBroker(loaded, report, io.signal),
      await checkDatabase(loaded, report, io.signal),
    ].every(Boolean);
    return report.verdict(path, reached ? 0 : 69);
  },
};

const NOWHERE = { line: 0, column: 0, length: 0 } as const;

/** Collects findings and prints them as they come. */
class Report {
  readonly #io: Io;
  readonly #json: boolean;
  readonly #colour: boolean;
  errors = 0;
  warnings = 0;

  constructor(io: Io, json: boolean) {
    this.#io = io;
    this.#json = json;
    this.#colour = !json && Deno.stdout.isTerminal() && !Deno.env.get("NO_COLOR");
  }

  add(findings: readonly Finding[], source: string | undefined): void {
    for (const finding of findings) {
      if (finding.severity === "error") this.errors++;
      if (finding.severity === "warning") this.warnings++;
      const { severity, code, message, file, line, column, fix } = finding;
      this.#io.out(
        this.#json
          ? JSON.stringify({ severity, code, message, file, line, column, fix })
          : formatFinding(finding, source, this.#colour) + "\n",
      );
    }
  }

  /** A service was looked at and is well. */
  good(text: string): void {
    if (!this.#json) this.#io.out(`ok: ${text}`);
  }

  verdict(path: string, code: number): number {
    const count = (n: number, word: string) => `${n} ${word}${n === 1 ? "" : "s"}`;
    const found = `${count(this.errors, "error")}, ${count(this.warnings, "warning")}`;
    const result = this.errors > 0 && code === 0 ? 1 : code;
    if (!this.#json) {
      this.#io.out(result === 0 ? `${path} is good (${found})` : `${path} is not good: ${found}`);
    }
    return result;
  }
}

/** Adds a finding at a place in the file, given by its path of keys. */
function at(
  loaded: LoadedConfig,
  path: readonly (string | number)[],
  finding: Pick<Finding, "severity" | "code" | "message" | "fix">,
): [Finding[], string] {
  const { offset, length } = placeInFile(loaded.source, path);
  return [[{ ...finding, file: loaded.path, ...placeOf(loaded.source, offset), length }], loaded.source];
}

async function checkBroker(loaded: LoadedConfig, report: Report, signal: AbortSignal): Promise<boolean> {
  const { ok, error, refused, lowered, brokerVersion } = await probeOf(loaded.config, signal);
  if (error) {
    report.add(
      ...at(loaded, ["broker", "url"], {
        severity: "error",
        code: "broker",
        message: error.message,
        fix: error.hint,
      }),
    );
    return false;
  }
  for (const { filter } of refused) {
    report.add(
      ...at(loaded, ["routes"], {
        severity: "error",
        code: "subscription-refused",
        message: `the broker refuses the subscription ${filter}`,
        fix: "give this user the right to read it, e.g. in mosquitto's acl_file",
      }),
    );
  }
  for (const { filter } of lowered) {
    report.add(
      ...at(loaded, ["routes"], {
        severity: "warning",
        code: "subscription-lowered",
        message: `the broker grants ${filter} only with a lower QoS: messages can be lost`,
      }),
    );
  }
  if (ok) {
    report.good(
      `the broker lets us in and grants every subscription${brokerVersion ? ` (${brokerVersion})` : ""}`,
    );
  }
  return true;
}

async function checkDatabase(loaded: LoadedConfig, report: Report, signal: AbortSignal): Promise<boolean> {
  const { database } = loaded.config;
  if (database.url.startsWith("sqlite:")) {
    report.good(`the embedded database ${database.url.slice("sqlite:".length)} needs no check`);
    return true;
  }
  let connection: MysqlConnection;
  try {
    connection = await connectMysql({ ...mysqlSettings(database), signal });
  } catch (error) {
    const errno = errnoOf(error);
    const fix = classify(error, "mysql") === "auth"
      ? "check user, password and database in database.url; a missing database may show as error 1044"
      : "is the server running, and may this machine reach it?";
    report.add(
      ...at(loaded, ["database", "url"], {
        severity: "error",
        code: "database",
        message: `no log-in to the database: ${messageOf(error)}${errno ? ` (error ${errno})` : ""}`,
        fix,
      }),
    );
    return false;
  }
  try {
    await checkServer(loaded, report, connection);
    const compared = new Set<string>();
    for (const [i, shape] of shapesOf(loaded.config.routes).entries()) {
      if (shape.table.includes("{")) continue;
      // The routes of a preset mostly have one table.
      const said = JSON.stringify([loaded.madeFrom[i], shape]);
      if (compared.has(said)) continue;
      compared.add(said);
      const findings = [
        ...compareTable(shape, await inspectTable(connection, shape.table), database),
        ...await upkeepFindings(connection, shape, database),
      ];
      for (const { severity, code, message, column, sql } of findings) {
        const path = ["routes", loaded.madeFrom[i], ...(column ? ["columns", column] : ["table"])];
        report.add(...at(loaded, path, { severity, code, message, fix: sql }));
      }
    }
    return true;
  } finally {
    await connection.close().catch(() => {});
    connection.destroy();
  }
}

async function checkServer(loaded: LoadedConfig, report: Report, connection: MysqlConnection): Promise<void> {
  const { pool } = loaded.config.database;
  const facts = await inspectServer(connection);
  const warn = (path: readonly string[], code: string, message: string, fix?: string) =>
    report.add(...at(loaded, path, { severity: "warning", code, message, fix }));
  if (facts.readOnly) warn(["database", "url"], "read-only", "the server is read-only at the moment");
  if (pool.recycle !== null && pool.recycle / 1_000 >= facts.waitTimeoutS) {
    warn(
      ["database", "pool", "recycle"],
      "recycle",
      `recycle (${
        formatDuration(pool.recycle)
      }) is not below the server's wait_timeout (${facts.waitTimeoutS} s)`,
      `"recycle": "${Math.floor(facts.waitTimeoutS * 0.8)}s"`,
    );
  }
  if (pool.kind === "queue" && pool.size + pool.maxOverflow > facts.connectionsMax) {
    warn(
      ["database", "pool"],
      "pool-size",
      `the pool may open ${
        pool.size + pool.maxOverflow
      } connections, the server takes ${facts.connectionsMax}`,
    );
  }
  if (facts.packetBytesMax < 4 * 1024 * 1024) {
    warn(
      ["database", "url"],
      "packet",
      `max_allowed_packet is ${facts.packetBytesMax} bytes: larger payloads become dead letters`,
      "SET GLOBAL max_allowed_packet = 67108864",
    );
  }
  report.good(`the database lets us in (${facts.version})`);
}
