/**
 * Trying the answers of `sluice init` at once: a log-in to the broker, a log-in to the database. Nothing is changed or
 * left behind there.
 */
import { dirname, resolve } from "node:path";
import { messageOf, SluiceError, UnreachableError } from "../errors.ts";
import { BrokerError } from "../mqtt/broker_error.ts";
import { brokerAddress } from "../mqtt/broker_options.ts";
import { probe } from "../mqtt/probe.ts";
import { databaseAddress } from "../mysql/address.ts";
import { classify, errnoOf } from "../mysql/classify.ts";
import { connectMysql } from "../mysql/connect.ts";
import { quote } from "../mysql/ddl.ts";

export interface LogIn {
  readonly url: string;
  readonly username?: string;
  readonly password?: string;
}

export interface BrokerTrial {
  readonly version: 4 | 5;
  /** What was found, in one sentence. */
  readonly sentence: string;
}

/** Unacceptable protocol version: of MQTT 3.1.1, which is how an old broker answers, and of MQTT 5. */
const VERSION_CODES: readonly (number | undefined)[] = [1, 132];
const CREDENTIAL_CODES: readonly (number | undefined)[] = [4, 5, 134, 135];

/** True where another user name or password may help. */
export function wantsLogIn(error: unknown): boolean {
  return error instanceof BrokerError && error.kind === "refused" && CREDENTIAL_CODES.includes(error.code);
}

/** Throws `UnreachableError`. */
export async function tryBroker(
  { url, username, password }: LogIn,
  filter: string,
  signal: AbortSignal,
): Promise<BrokerTrial> {
  const attempt = (version: 4 | 5) =>
    probe({ url, username, password: () => Promise.resolve(password), version, filters: [filter] }, signal);
  let version: 4 | 5 = 5;
  let result = await attempt(version);
  if (result.error && VERSION_CODES.includes(result.error.code)) result = await attempt(version = 4);
  if (result.error) throw result.error;
  const refused = result.refused.length > 0
    ? `, but refuses the subscription ${filter}: give this user the right to read it`
    : "";
  const name = result.brokerVersion ? ` (${result.brokerVersion})` : "";
  return { version, sentence: `the broker at ${brokerAddress(url).display} lets us in${name}${refused}` };
}

/** Returns what was found, in one sentence. Throws `SluiceError`. `dir` is where the configuration will lie. */
export async function tryDatabase(
  { url, password }: LogIn,
  dir: string,
  signal: AbortSignal,
): Promise<string> {
  const address = databaseAddress(url);
  if (address.kind === "sqlite") return await trySqlite(resolve(dir, address.path));
  const { host, port, user, database } = address;
  const where = `${host}:${port}`;
  try {
    const connection = await connectMysql({ host, port, user, database, password, signal });
    const { version } = connection;
    await connection.close().catch(() => {});
    connection.destroy();
    return `the database ${database} at ${where} lets us in (${version})`;
  } catch (cause) {
    signal.throwIfAborted();
    const errno = errnoOf(cause);
    const hint = classify(cause, "mysql") === "auth"
      ? `check user and password; where they do not exist yet, an administrator types: ${
        grantSql(database, user)
      }`
      : "is the server running, and may this machine reach it?";
    const reason = `${messageOf(cause)}${errno ? ` (error ${errno})` : ""}`;
    throw new UnreachableError(`no log-in to the database ${database} at ${where}: ${reason}`, {
      cause,
      hint,
    });
  }
}

function grantSql(database: string, user: string): string {
  const account = `'${user.replaceAll("'", "''")}'@'%'`;
  return [
    `CREATE DATABASE IF NOT EXISTS ${quote(database)} CHARACTER SET utf8mb4;`,
    `CREATE USER ${account} IDENTIFIED BY 'a password';`,
    `GRANT ALL ON ${quote(database)}.* TO ${account};`,
  ].join(" ");
}

async function trySqlite(path: string): Promise<string> {
  const dir = dirname(path);
  const isFolder = await Deno.stat(dir).then((it) => it.isDirectory, () => false);
  if (!isFolder) {
    throw new SluiceError(`the folder ${dir} for the embedded database does not exist`, {
      hint: `make it: mkdir -p '${dir}'`,
    });
  }
  return `the embedded database will lie in ${path}`;
}
