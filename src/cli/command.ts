/**
 * The anatomy of a command: a name, one line for the overview, its options, and what it does. A new command is one file
 * with one of these, and one line in `mod.ts`.
 */
import type { ParseArgsConfig } from "node:util";

export interface Io {
  /** Data. */
  out(text: string): void;
  /** Talk. */
  err(text: string): void;
  /** Aborted by SIGINT and SIGTERM. */
  readonly signal: AbortSignal;
}

export interface Arguments {
  readonly values: Readonly<Record<string, string | boolean | undefined>>;
  readonly positionals: readonly string[];
}

export interface CommandOption {
  readonly type: "string" | "boolean";
  readonly short?: string;
  readonly summary: string;
  /** Name of the value, for the help: FILE. */
  readonly value?: string;
}

export interface Command {
  readonly name: string;
  /** After the name: `-c FILE TOPIC PAYLOAD`. */
  readonly usage: string;
  readonly summary: string;
  readonly options: Readonly<Record<string, CommandOption>>;
  /** Further lines for its help: exit codes, shapes. */
  readonly notes?: readonly string[];
  /** What the first positional argument can be, for completion. */
  readonly actions?: readonly string[];
  /** How many positional arguments it takes, at least and at most. */
  readonly positionals?: readonly [number, number];
  /** Returns the exit code. Throws what `mod.ts` turns into a message and an exit code. */
  run(args: Arguments, io: Io): Promise<number>;
}

export const CONFIG_OPTION: CommandOption = {
  type: "string",
  short: "c",
  summary: "the configuration",
  value: "FILE",
};
export const JSON_OPTION: CommandOption = {
  type: "boolean",
  summary: "one JSON object a line, for programs",
};

export type ParseOptions = NonNullable<ParseArgsConfig["options"]>;
