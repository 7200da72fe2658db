/**
 * `sluice check`: everything that can be known to be wrong before the first message: the file, what it names outside of
 * itself, the broker and the database as they really are, and where messages will wait. The last line is the verdict.
 *
 * It changes nothing, and does not disturb a gateway that runs.
 */
import { loadConfig, type LoadedConfig, WrongConfigurationError } from "../../config/load.ts";
import { unreadable } from "../../config/outside.ts";
import { messageOf, SluiceError, UsageError } from "../../errors.ts";
import { type Command, CONFIG_OPTION, type Io, JSON_OPTION } from "../command.ts";
import { checkBroker } from "./broker.ts";
import { checkDatabase } from "./database.ts";
import { FileReport, Report } from "./report.ts";
import { checkRoutes } from "./routes.ts";
import { checkSpool } from "./spool.ts";

export const check: Command = {
  name: "check",
  usage: "-c FILE [--offline] [--json]",
  summary: "validates, logs in to broker and database, compares routes with tables",
  options: {
    config: CONFIG_OPTION,
    offline: { type: "boolean", summary: "only the file; talk to nobody" },
    json: JSON_OPTION,
  },
  notes: [
    "Exit codes: 0 good, perhaps with warnings; 1 something is wrong with tables, rights or subscriptions;",
    "69 broker or database is out of reach; 78 the file is wrong.",
    "--json: { severity, code, message, file, line, column, fix }, severity being error, warning or note.",
  ],
  async run({ values }, io) {
    const path = values.config;
    if (typeof path !== "string") throw new UsageError("check needs a configuration: -c FILE");
    const report = new Report(io, values.json === true);
    const loaded = await load(path, report);
    if (!loaded) return report.verdict(path, 78);
    const code = await checkAll(new FileReport(report, loaded), values.offline === true, io);
    return report.verdict(path, code);
  },
};

/** Undefined where the file is wrong, which is told. */
async function load(path: string, report: Report): Promise<LoadedConfig | undefined> {
  try {
    const loaded = await loadConfig(path);
    report.add(loaded.warnings, loaded.source);
    return loaded;
  } catch (error) {
    if (!(error instanceof WrongConfigurationError)) throw error;
    report.add(error.findings, error.source);
    if (error.findings.length === 0) {
      const nowhere = { file: path, line: 0, column: 0, length: 0 };
      report.add([{
        ...nowhere,
        severity: "error",
        code: "file",
        message: messageOf(error),
        fix: error.hint,
      }], undefined);
    }
    return undefined;
  }
}

async function checkAll(report: FileReport, offline: boolean, io: Io): Promise<number> {
  checkRoutes(report);
  const missing = await unreadable(report.loaded.config);
  for (const { path, message, hint } of missing) {
    // Offline it may well be another machine than the gateway's, with other files and variables.
    const severity = offline ? "warning" : "error";
    report.at(path, { severity, code: "unreadable", message: `${path.join(".")}: ${message}`, fix: hint });
  }
  if (offline) return 0;
  if (missing.length > 0) return 78;
  try {
    await checkSpool(report);
    const reached = [await checkBroker(report, io.signal), await checkDatabase(report, io.signal)];
    return reached.every(Boolean) ? 0 : 69;
  } catch (error) {
    if (io.signal.aborted) {
      throw new SluiceError("interrupted; what was not looked at may be wrong, too", { cause: error });
    }
    throw error;
  }
}
