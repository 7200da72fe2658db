/**
 * The command line: finds the command, reads its arguments, and turns whatever it throws into a message and an exit code.
 */
import { parseArgs } from "node:util";
import { findSimilar } from "@optique/core/suggestion";
import { formatFinding } from "../config/finding.ts";
import { WrongConfigurationError } from "../config/load.ts";
import { ConfigurationError, messageOf, SluiceError, UnreachableError, UsageError } from "../errors.ts";
import type { Command, Io, ParseOptions } from "./command.ts";
import { check } from "./check/mod.ts";
import { completion } from "./completion.ts";
import { dead } from "./dead.ts";
import { ddl } from "./ddl.ts";
import { demo } from "./demo.ts";
import { discover } from "./discover.ts";
import { explain as explainCommand } from "./explain.ts";
import { init } from "./init.ts";
import { run } from "./run.ts";
import { schema } from "./schema.ts";
import { spool } from "./spool.ts";
import { status } from "./status.ts";
import { tap } from "./tap.ts";
import { VERSION } from "./version.ts";

/** As the overview shows them: what for, and in the order in which they are needed. */
const GROUPS: readonly (readonly [what: string, commands: readonly Command[]])[] = [
  ["to see it with nothing installed", [demo]],
  ["to begin, in this order", [init, discover, check, run]],
  ["to try a route before it is used", [explainCommand, tap, ddl]],
  ["to look after it", [status, dead, spool]],
  ["for editor and shell", [schema, completion(() => COMMANDS)]],
];

export const COMMANDS: readonly Command[] = GROUPS.flatMap(([, commands]) => commands);

/** Runs the program and returns its exit code (0, 1, 2, 69 or 78). */
export async function main(args: readonly string[]): Promise<number> {
  const stop = new AbortController();
  const onSignal = () => stop.abort(new DOMException("the program was asked to stop", "AbortError"));
  for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(signal, onSignal);
  const encoder = new TextEncoder();
  const write = (to: { writeSync(bytes: Uint8Array): number }) => (text: string) => {
    for (let bytes = encoder.encode(text + "\n"); bytes.length > 0;) {
      bytes = bytes.subarray(to.writeSync(bytes));
    }
  };
  try {
    return await execute(args, { out: write(Deno.stdout), err: write(Deno.stderr), signal: stop.signal });
  } finally {
    for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.removeSignalListener(signal, onSignal);
  }
}

/** As `main`, with its surroundings given. */
export async function execute(args: readonly string[], io: Io): Promise<number> {
  const debug = args.includes("--debug");
  try {
    return await dispatch(args.filter((it) => it !== "--debug"), io);
  } catch (error) {
    return explain(error, io, debug);
  }
}

function dispatch([name, ...rest]: readonly string[], io: Io): Promise<number> | number {
  if (name === undefined || name === "--help" || name === "-h" || name === "help") {
    (name === undefined ? io.err : io.out)(overview());
    return name === undefined ? 2 : 0;
  }
  if (name === "--version" || name === "-V") {
    io.out(`sluice ${VERSION}`);
    return 0;
  }
  const command = COMMANDS.find((it) => it.name === name);
  if (!command) {
    const similar = findSimilar(name, COMMANDS.map((it) => it.name))[0];
    throw new UsageError(`there is no command "${name}"`, {
      hint: similar ? `did you mean "${similar}"?` : "`sluice --help` lists them",
    });
  }
  if (rest.includes("--help") || rest.includes("-h")) {
    io.out(help(command));
    return 0;
  }
  return command.run(readArguments(command, rest), io);
}

function readArguments(command: Command, args: readonly string[]) {
  const options: ParseOptions = Object.fromEntries(
    Object.entries(command.options).map((
      [name, { type, short }],
    ) => [name, { type, ...(short ? { short } : {}) }]),
  );
  let parsed;
  try {
    parsed = parseArgs({ args: [...args], options, allowPositionals: true, strict: true });
  } catch (error) {
    const unknown = /'--?([\w-]+)/.exec(messageOf(error))?.[1];
    const similar = unknown && findSimilar(unknown, Object.keys(options))[0];
    throw new UsageError(`${command.name}: ${messageOf(error).split(". ")[0]}`, {
      hint: similar ? `did you mean --${similar}?` : `\`sluice ${command.name} --help\` lists its options`,
    });
  }
  const [least, most] = command.positionals ?? [0, 0];
  const count = parsed.positionals.length;
  if (count < least || count > most) throw new UsageError(`usage: sluice ${command.name} ${command.usage}`);
  return parsed as Parameters<Command["run"]>[0];
}

function overview(): string {
  const width = Math.max(...COMMANDS.map((it) => it.name.length));
  return [
    `sluice ${VERSION}: MQTT to MySQL, without losing or doubling a row`,
    "",
    "usage: sluice COMMAND [OPTIONS]",
    ...GROUPS.flatMap(([what, commands]) => [
      "",
      `${what}:`,
      ...commands.map((it) => `  ${it.name.padEnd(width)}  ${it.summary}`),
    ]),
    "",
    "`sluice COMMAND --help` says more. --debug shows where an error comes from.",
  ].join("\n");
}

function help({ name, usage, summary, options, notes = [] }: Command): string {
  const lines = Object.entries(options).map((
    [option, { short, value, summary }],
  ) => [`  ${short ? `-${short}, ` : "    "}--${option}${value ? ` ${value}` : ""}`, summary]);
  const width = Math.max(0, ...lines.map(([left]) => left.length));
  return [
    `sluice ${name} ${usage}`.trimEnd(),
    "",
    `  ${summary}`,
    ...(lines.length > 0 ? [""] : []),
    ...lines.map(([left, right]) => `${left.padEnd(width)}  ${right}`),
    ...(notes.length > 0 ? ["", ...notes.map((it) => `  ${it}`)] : []),
  ].join("\n");
}

/** Says what went wrong and returns the exit code for it. */
function explain(error: unknown, io: Io, debug: boolean): number {
  if (io.signal.aborted && error === io.signal.reason) {
    io.err("interrupted");
    return 1;
  }
  const colour = Deno.stderr.isTerminal() && !Deno.env.get("NO_COLOR");
  if (error instanceof WrongConfigurationError) {
    for (const finding of error.findings) io.err(formatFinding(finding, error.source, colour) + "\n");
  }
  io.err(`error: ${messageOf(error)}`);
  if (error instanceof SluiceError && error.hint) {
    io.err(`  = help: ${error.hint.replaceAll("\n", "\n          ")}`);
  }
  if (debug && error instanceof Error) io.err(error.stack ?? "");
  else if (!(error instanceof SluiceError)) io.err("  = help: --debug shows where it comes from");
  if (error instanceof UsageError) return 2;
  if (error instanceof ConfigurationError) return 78;
  if (error instanceof UnreachableError) return 69;
  return 1;
}
