/**
 * `sluice init`: asks for broker, database and a name, tries each answer at once, and writes a first configuration.
 *
 * Promises never to overwrite a file, to write nothing before every answer is there, and to keep passwords out of the
 * command line and out of the configuration: a typed one goes to a file of its own that only its owner may read.
 */
import { dirname, join, resolve } from "node:path";
import { parseConfig } from "../config/load.ts";
import { initialConfiguration } from "../config/initial.ts";
import { messageOf, SluiceError, UsageError } from "../errors.ts";
import type { Arguments, Command } from "./command.ts";
import { openQuestions } from "./questions.ts";
import {
  type BrokerAnswer,
  brokerFault,
  type DatabaseAnswer,
  databaseFault,
  DEFAULT_BROKER,
  DEFAULT_DATABASE,
  type Password,
  Setup,
  stateFolder,
  TOPIC,
} from "./setup.ts";

const url = (summary: string) => ({ type: "string", value: "URL", summary }) as const;
const passwordFile = (summary: string) => ({ type: "string", value: "FILE", summary }) as const;

export const init: Command = {
  name: "init",
  usage: "[FILE] [--broker URL] [--database URL] [--name NAME] [--yes] [--offline]",
  summary: "asks for broker, database and a name, tries them, and writes a first configuration",
  options: {
    broker: url(`where messages come from, e.g. ${DEFAULT_BROKER}`),
    "broker-username": { type: "string", value: "NAME", summary: "log in to the broker as" },
    "broker-password-file": passwordFile("holds the broker's password; or set MQTT_PASSWORD"),
    database: url("where rows go: mysql://user@host:3306/database or sqlite:home.db"),
    "database-password-file": passwordFile("holds the database's password; or set DB_PASSWORD"),
    name: { type: "string", value: "NAME", summary: "this gateway's name; default: the host name" },
    yes: { type: "boolean", summary: "ask nothing: defaults for what is not given" },
    offline: { type: "boolean", summary: "do not try broker and database" },
  },
  notes: [
    "Each answer is tried at once. Nothing is written before every answer is there, and no file is overwritten; FILE is",
    "sluice.json unless given. A typed password goes to a file of its own that only you may read.",
    "Exit codes: 0 written; 1 given up, or the file exists; 2 an answer is missing; 69 a service is out of reach.",
  ],
  positionals: [0, 1],
  async run({ values, positionals }, io) {
    const file = positionals[0] ?? "sluice.json";
    const flags = readFlags(values);
    await mustBeNew(file);
    const terminal = Deno.stdin.isTerminal() && Deno.stdout.isTerminal();
    const questions = terminal && !values.yes ? await openQuestions("A first configuration") : undefined;
    if (!questions && !values.yes) mustBeComplete(values);
    const setup = new Setup(questions, values.offline === true, dirname(resolve(file)), io);
    const broker = await setup.broker(flags.broker);
    const database = await setup.database(flags.database);
    const name = flags.name ??
      await questions?.text("A name for this gateway", hostname(), () => undefined) ??
      hostname();
    io.signal.throwIfAborted();
    const written = await writeAll(file, { name, broker, database });
    const secrets = written.map((it) => `${it} has the password, only you may read it`);
    for (const line of [`${file} is written`, ...secrets]) io.err(line);
    io.out(`\nnext:\n  sluice check -c ${shellWord(file)}\n  sluice run -c ${shellWord(file)}`);
    return 0;
  },
};

interface Answers {
  readonly name: string;
  readonly broker: BrokerAnswer;
  readonly database: DatabaseAnswer;
}

/** What the command line says; a password in an URL is taken out of it. */
function readFlags(values: Arguments["values"]) {
  const text = (key: string) => {
    const value = values[key];
    if (value === "") throw new UsageError(`--${key} is empty`);
    return typeof value === "string" ? value : undefined;
  };
  const checked = (key: string, check: (url: string) => string | undefined) => {
    const value = text(key);
    const wrong = value && check(value);
    if (wrong) throw new UsageError(`--${key}: ${wrong}`);
    return value;
  };
  const password = (key: string, variable: string | undefined): Password | undefined => {
    const path = text(key);
    if (path !== undefined) return { kept: { file: resolve(path) } };
    return variable && Deno.env.get(variable) !== undefined ? { kept: { env: variable } } : undefined;
  };
  const broker = checked("broker", brokerFault);
  const username = text("broker-username");
  const logsIn = username !== undefined || Boolean(broker && URL.parse(broker)?.username);
  return {
    broker: {
      url: broker,
      username,
      password: password("broker-password-file", logsIn ? "MQTT_PASSWORD" : undefined),
    },
    database: {
      url: checked("database", databaseFault),
      password: password("database-password-file", "DB_PASSWORD"),
    },
    name: text("name"),
  };
}

function mustBeComplete(values: Arguments["values"]): void {
  const missing = ["broker", "database"].filter((key) => values[key] === undefined).map((key) => `--${key}`);
  if (missing.length === 0) return;
  throw new UsageError(
    `init cannot ask without a terminal, and ${missing.join(" and ")} ${
      missing.length === 1 ? "is" : "are"
    } missing`,
    { hint: `--yes takes the defaults: --broker ${DEFAULT_BROKER} --database ${DEFAULT_DATABASE}` },
  );
}

async function mustBeNew(file: string): Promise<void> {
  const dir = dirname(resolve(file));
  if (await Deno.lstat(file).then(() => true, () => false)) {
    throw new SluiceError(`${file} exists already, and init overwrites nothing`, {
      hint: `give it another name: sluice init OTHER.json; or look at this one: sluice check -c ${file}`,
    });
  }
  try {
    await Deno.remove(await Deno.makeTempFile({ dir, prefix: ".sluice-" }));
  } catch (cause) {
    const missing = cause instanceof Deno.errors.NotFound;
    throw new SluiceError(
      `${file} cannot be written: ${missing ? `there is no folder ${dir}` : messageOf(cause)}`,
      {
        cause,
        hint: missing
          ? `make it: mkdir -p '${dir}'`
          : "choose another place, or run it as a user who may write there",
      },
    );
  }
}

/** Writes passwords and configuration, or nothing. Returns the files with passwords. */
async function writeAll(file: string, { name, broker, database }: Answers): Promise<string[]> {
  const dir = dirname(resolve(file));
  const written: string[] = [];
  const kept = async (password: Password | undefined, called: string) => {
    if (!password || "kept" in password) return password?.kept;
    const path = await writeNew(dir, called, `${password.typed}\n`, 0o600);
    written.push(path);
    return { file: path };
  };
  try {
    const text = initialConfiguration({
      name,
      brokerUrl: broker.url,
      brokerUsername: broker.username,
      brokerPassword: await kept(broker.password, "broker-password"),
      brokerVersion: broker.version,
      databaseUrl: database.url,
      databasePassword: await kept(database.password, "database-password"),
      topic: TOPIC,
      spool: `${stateFolder(dir)}spool.db`,
      schema: await schemaBeside(dir),
    });
    parseConfig(text, file);
    await Deno.writeTextFile(file, text, { createNew: true });
    return written;
  } catch (error) {
    for (const path of written) await Deno.remove(path).catch(() => {});
    throw error;
  }
}

/** Where Debian's package puts it. */
const SCHEMA = "/usr/share/sluice/sluice.schema.json";

/** The JSON Schema for editors, where there is one. */
async function schemaBeside(dir: string): Promise<string | undefined> {
  const isThere = (path: string) => Deno.stat(path).then((it) => it.isFile, () => false);
  if (await isThere(join(dir, "sluice.schema.json"))) return "./sluice.schema.json";
  return await isThere(SCHEMA) ? SCHEMA : undefined;
}

/** Writes a file that was not there, if need be with a number behind its name. Returns its path. */
async function writeNew(dir: string, called: string, text: string, mode: number): Promise<string> {
  for (let n = 1;; n++) {
    const path = join(dir, n === 1 ? called : `${called}-${n}`);
    try {
      await Deno.writeTextFile(path, text, { createNew: true, mode });
      return path;
    } catch (error) {
      if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    }
  }
}

const shellWord = (text: string) => /^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;

function hostname(): string {
  try {
    return Deno.hostname();
  } catch {
    return "sluice";
  }
}
