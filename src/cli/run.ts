/**
 * `sluice run`: the gateway, until SIGTERM or SIGINT. SIGHUP loads the configuration again.
 */
import { getLogger } from "@logtape/logtape";
import { loadConfig, WrongConfigurationError } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
import { messageOf, UsageError } from "../errors.ts";
import { Faults } from "../faults.ts";
import { Service } from "../gateway/service.ts";
import { setUpLog } from "../log.ts";
import { extendStart, feedWatchdog, type Notifier, openNotifier } from "../systemd.ts";
import { type Command, CONFIG_OPTION } from "./command.ts";
import { VERSION } from "./version.ts";

/** A gateway whose loops were not seen to turn for so long is not alive. Twice the longest time that a slow disk takes. */
const STILL_MS_MAX = 20_000;

export const run: Command = {
  name: "run",
  usage: "-c FILE",
  summary: "the gateway",
  options: { config: CONFIG_OPTION },
  notes: [
    "Starts with neither broker nor database there. SIGHUP loads the file again: a bad new one changes nothing, and what",
    "was asked of the old one is still done. SIGTERM and Ctrl-C end it when what is in hand is safe.",
    "Exit codes: 0 ended as asked; 1 it cannot keep its promise, start it anew; 78 the configuration is wrong.",
  ],
  async run({ values }, { signal }) {
    const path = values.config;
    if (typeof path !== "string") throw new UsageError("run needs a configuration: sluice run -c FILE");
    const { config } = await loadConfig(path);
    await setUpLog(config.log);
    const log = getLogger(["sluice"]);
    const faults = new Faults({
      log: { warn: (line) => log.warn("{line}", { line }), info: (line) => log.info("{line}", { line }) },
    });
    log.info("sluice {version} starts as {name} with {path}", { version: VERSION, name: config.name, path });
    using notifier = openNotifier();
    await using service = await openPatiently(notifier, config, faults);
    if (service.statusAddress) {
      log.info("the status page is at {address}", { address: service.statusAddress });
    }
    const reload = oneByOne(async () => {
      try {
        await service.reload((await loadConfig(path)).config);
        log.info("the configuration was loaded again");
      } catch (error) {
        log.error(
          "the configuration was not loaded again, the old one stays: {reason}; `sluice check -c {path}` shows it in its place",
          { reason: reasonOf(error), path },
        );
      }
    });
    Deno.addSignalListener("SIGHUP", reload);
    const summary = () => {
      const { sentence, totals } = service.snapshot();
      return `${totals.pending} waiting, ${totals.stored} stored${sentence ? `; ${sentence}` : ""}`;
    };
    using _watchdog = feedWatchdog(notifier, () => service.gateway.stillForMs() < STILL_MS_MAX, summary);
    // Ready means that the spool is open: broker and database may come later.
    notifier.notify(`READY=1\nSTATUS=${summary()}`);
    signal.addEventListener("abort", () => notifier.notify("STOPPING=1"), { once: true });
    try {
      await service.run(signal);
    } finally {
      Deno.removeSignalListener("SIGHUP", reload);
    }
    log.info("stopped; {pending} messages wait in the spool", { pending: service.totals.pending });
    return 0;
  },
};

/** Whatever the spool needs to be opened, the service manager waits for it. */
async function openPatiently(notifier: Notifier, config: Config, faults: Faults): Promise<Service> {
  using _patience = extendStart(notifier, "opening the spool");
  return await Service.open(config, { faults, version: VERSION });
}

/** On one line, with the place of each finding. */
function reasonOf(error: unknown): string {
  const findings = error instanceof WrongConfigurationError ? error.findings : [];
  const lines = findings.filter(({ severity }) => severity === "error")
    .map(({ line, column, message }) => `line ${line}, column ${column}: ${message}`);
  return [messageOf(error), ...lines].join("; ");
}

/** Calls that come while `action` runs make it run once more after it, never beside itself. It must not reject. */
function oneByOne(action: () => Promise<void>): () => void {
  let running: Promise<void> | undefined;
  let again = false;
  const run = async () => {
    do {
      again = false;
      await action();
    } while (again);
    running = undefined;
  };
  return () => {
    again = true;
    running ??= run();
  };
}
