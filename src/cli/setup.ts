/**
 * The answers of `sluice init`: from the command line or asked for, each tried at once, until it works or the user wants
 * it all the same. Writes nothing.
 */
import { Secret, type SecretSource } from "../config/secret.ts";
import { ConfigurationError, messageOf, SluiceError, UnreachableError, UsageError } from "../errors.ts";
import { brokerAddress } from "../mqtt/broker_options.ts";
import { databaseAddress } from "../mysql/address.ts";
import type { Io } from "./command.ts";
import type { Questions } from "./questions.ts";
import { type LogIn, tryBroker, tryDatabase, wantsLogIn } from "./trial.ts";

export const DEFAULT_BROKER = "mqtt://127.0.0.1:1883";
export const DEFAULT_DATABASE = "sqlite:home.db";

/**
 * Where what changes shall lie, given the configuration's folder: beside it, unless that is below /etc, which is for
 * what people write. There it is the folder that the service may write to. Ends with a slash, or is empty.
 */
export function stateFolder(dir: string): string {
  return dir.startsWith("/etc/") ? "/var/lib/sluice/" : "";
}
/** What a first configuration subscribes to. */
export const TOPIC = "Home/#";

/** A password: where it is kept, or, where that is nowhere yet, itself. */
export type Password = { readonly kept: SecretSource } | { readonly typed: string };

export interface BrokerAnswer {
  readonly url: string;
  readonly username?: string;
  readonly password?: Password;
  readonly version?: 4 | 5;
}

export interface DatabaseAnswer {
  readonly url: string;
  readonly password?: Password;
}

const faultOf = (check: (url: string) => unknown) => (answer: string): string | undefined => {
  try {
    check(answer);
    return undefined;
  } catch (error) {
    const hint = error instanceof ConfigurationError && error.hint ? `; ${error.hint}` : "";
    return `${messageOf(error)}${hint}`;
  }
};
/** What is wrong with a URL, in one sentence. */
export const brokerFault = faultOf(brokerAddress);
export const databaseFault = faultOf(databaseAddress);

/** Comes to an answer that works, or that the user wants all the same. */
export class Setup {
  readonly #questions: Questions | undefined;
  readonly #offline: boolean;
  readonly #dir: string;
  readonly #io: Io;

  constructor(questions: Questions | undefined, offline: boolean, dir: string, io: Io) {
    this.#questions = questions;
    this.#offline = offline;
    this.#dir = dir;
    this.#io = io;
  }

  async broker(flags: Partial<BrokerAnswer>): Promise<BrokerAnswer> {
    const given = flags.url ?? (this.#questions ? undefined : DEFAULT_BROKER);
    let answer = withoutPassword({
      ...flags,
      url: given ?? await this.#questions!.text("The broker", DEFAULT_BROKER, brokerFault),
    });
    while (!this.#offline) {
      try {
        const { version, sentence } = await tryBroker(await logIn(answer), TOPIC, this.#io.signal);
        this.#good(sentence);
        return { ...answer, version };
      } catch (error) {
        const next = await this.#next(error, wantsLogIn(error));
        if (next === "keep") break;
        answer = next === "logIn"
          ? await this.#askLogIn(answer)
          : withoutPassword({ url: await this.#questions!.text("The broker", answer.url, brokerFault) });
      }
    }
    return answer;
  }

  async #askLogIn({ url, username }: BrokerAnswer): Promise<BrokerAnswer> {
    const name = await this.#questions!.text(
      "User name at the broker",
      username ?? "sluice",
      () => undefined,
    );
    return {
      url,
      username: name,
      password: typed(await this.#questions!.password("Password at the broker")),
    };
  }

  async database(flags: Partial<DatabaseAnswer>): Promise<DatabaseAnswer> {
    const given = flags.url ?? (this.#questions ? undefined : this.#embedded);
    let answer = await this.#askDatabase(given, flags.password);
    while (!this.#offline) {
      try {
        this.#good(await tryDatabase(await logIn(answer), this.#dir, this.#io.signal));
        return answer;
      } catch (error) {
        const next = await this.#next(error, false);
        if (next === "keep") break;
        answer = await this.#askDatabase(undefined, undefined, answer.url);
      }
    }
    return answer;
  }

  get #embedded(): string {
    return DEFAULT_DATABASE.replace(":", `:${stateFolder(this.#dir)}`);
  }

  async #askDatabase(
    given: string | undefined,
    password: Password | undefined,
    initial = "mysql://sluice@127.0.0.1:3306/home",
  ): Promise<DatabaseAnswer> {
    const question = `The database, or ${this.#embedded} for an embedded one`;
    const url = given ?? await this.#questions!.text(question, initial, databaseFault);
    if (databaseAddress(url).kind === "sqlite") return { url };
    const answer = withoutPassword({ url, password });
    if (answer.password || !this.#questions) return answer;
    return { ...answer, password: typed(await this.#questions.password("Password at the database")) };
  }

  #good(sentence: string): void {
    this.#questions ? this.#questions.good(sentence) : this.#io.err(`ok: ${sentence}`);
  }

  /** What to do about an answer that does not work. Without a terminal: nothing can be done. */
  async #next(error: unknown, canLogIn: boolean): Promise<"again" | "logIn" | "keep"> {
    if (!(error instanceof SluiceError) || error instanceof UsageError) throw error;
    if (!this.#questions) {
      const hint = [error.hint, "--offline writes the configuration without a trial"].filter(Boolean).join(
        "\n",
      );
      throw error instanceof UnreachableError
        ? new UnreachableError(error.message, { cause: error, hint })
        : error;
    }
    this.#questions.bad(error.message, error.hint);
    return await this.#questions.choose("And now?", {
      ...(canLogIn ? { logIn: "give a user name and password" } : {}),
      again: "change the answer, or try it again",
      keep: "keep it as it is",
    } as Record<"again" | "logIn" | "keep", string>);
  }
}

const typed = (text: string): Password | undefined => text === "" ? undefined : { typed: text };

/** Takes a password out of the URL; one that is kept elsewhere wins. */
function withoutPassword<T extends { url: string; password?: Password }>(answer: T): T {
  const password = URL.parse(answer.url)?.password;
  if (!password) return answer;
  const url = answer.url.replace(/^(\w+:\/\/[^:@/]*):[^@/]*@/, "$1@");
  return { ...answer, url, password: answer.password ?? { typed: decodeURIComponent(password) } };
}

async function logIn({ url, username, password }: BrokerAnswer): Promise<LogIn> {
  if (!password || "typed" in password) return { url, username, password: password?.typed };
  try {
    return { url, username, password: await new Secret(password.kept).read() };
  } catch (error) {
    throw new UsageError(messageOf(error));
  }
}
