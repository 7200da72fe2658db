/**
 * What a configuration names outside of itself: secrets, and certificates in files. They are read at each use, so that a
 * renewed one is taken; here they are read once beforehand, so that one that is missing is said at once and by its key.
 */
import { ConfigurationError, messageOf, SluiceError } from "../errors.ts";
import { fileFault, fileHint } from "./file_fault.ts";
import type { Config } from "./schema.ts";
import { Secret } from "./secret.ts";

export interface Unreadable {
  /** The key that names it. */
  readonly path: readonly string[];
  readonly message: string;
  readonly hint: string | undefined;
}

/** What cannot be read now. */
export async function unreadable({ broker, database, status }: Config): Promise<Unreadable[]> {
  const all = [
    secret(["broker", "password"], broker.password),
    ...certificates(["broker", "tls"], broker.tls),
    secret(["database", "password"], database.password),
    ...certificates(["database", "tls"], database.tls),
    ...(status === false ? [] : [secret(["status", "token"], status.token)]),
  ];
  return (await Promise.all(all)).filter((it) => it !== undefined);
}

/** Throws `ConfigurationError` that names all that cannot be read. */
export async function assertReadable(config: Config): Promise<void> {
  const missing = await unreadable(config);
  if (missing.length === 0) return;
  throw new ConfigurationError(
    missing.map(({ path, message }) => `${path.join(".")}: ${message}`).join("; "),
    {
      hint: "check the names, and that the user that the gateway runs as may read them",
    },
  );
}

function secret(path: readonly string[], it: Secret | undefined): Promise<Unreadable | undefined> {
  return attempt(path, () => it?.read());
}

function certificates(
  path: readonly string[],
  tls: { ca?: string; cert?: string; key?: string } | undefined,
): Promise<Unreadable | undefined>[] {
  return (["ca", "cert", "key"] as const).map((key) => {
    const file = tls?.[key];
    return attempt([...path, key], async () => {
      if (file === undefined) return;
      await Deno.readTextFile(file).catch((cause) => {
        throw new ConfigurationError(`${file} cannot be read: ${fileFault(cause)}`, {
          cause,
          hint: fileHint(cause, file) ??
            "it names a file in PEM, beside the configuration unless it begins with /",
        });
      });
    });
  });
}

async function attempt(
  path: readonly string[],
  read: () => Promise<unknown> | undefined,
): Promise<Unreadable | undefined> {
  try {
    await read();
    return undefined;
  } catch (error) {
    return { path, message: messageOf(error), hint: error instanceof SluiceError ? error.hint : undefined };
  }
}
