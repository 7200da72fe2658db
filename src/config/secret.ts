/**
 * A secret as the configuration names it: the text itself, an environment variable, a file, or a systemd credential.
 *
 * It is read anew at each use, so that a changed password is picked up; it never shows its value when printed.
 */
import { resolve } from "node:path";
import { ConfigurationError } from "../errors.ts";
import { fileFault, fileHint } from "./file_fault.ts";

export type SecretSource = string | { readonly env: string } | { readonly file: string } | {
  readonly credential: string;
};

export class Secret {
  readonly #source: SecretSource;

  constructor(source: SecretSource) {
    this.#source = source;
  }

  /** The same secret, for a configuration in this folder. */
  in(dir: string): Secret {
    const source = this.#source;
    return typeof source === "object" && "file" in source
      ? new Secret({ file: resolve(dir, source.file) })
      : this;
  }

  /** The value, without a line break at its end. Throws `ConfigurationError` that names the source. */
  async read(): Promise<string> {
    const source = this.#source;
    if (typeof source === "string") return source;
    if ("env" in source) {
      const value = Deno.env.get(source.env);
      if (value === undefined) {
        throw new ConfigurationError(
          `the environment variable ${source.env}, which holds a secret, is not set`,
          {
            hint:
              `set it where the gateway is started, e.g. in its systemd unit: EnvironmentFile=/etc/sluice/env`,
          },
        );
      }
      return value;
    }
    const path = "file" in source ? source.file : credentialPath(source.credential);
    try {
      return (await Deno.readTextFile(path)).replace(/\r?\n$/, "");
    } catch (cause) {
      throw new ConfigurationError(`the secret in ${path} cannot be read: ${fileFault(cause)}`, {
        cause,
        hint: fileHint(cause, path) ??
          `write the secret into it, for the gateway's user only: install -m 600 -o sluice /dev/stdin '${path}'`,
      });
    }
  }

  toString(): string {
    return "***";
  }

  toJSON(): string {
    return "***";
  }

  [Symbol.for("Deno.customInspect")](): string {
    return "***";
  }
}

function credentialPath(name: string): string {
  const dir = Deno.env.get("CREDENTIALS_DIRECTORY");
  if (!dir) {
    throw new ConfigurationError(
      `the credential "${name}" cannot be read: $CREDENTIALS_DIRECTORY is not set`,
      {
        hint: `systemd sets it for a unit with LoadCredential=${name}:/etc/sluice/${name}`,
      },
    );
  }
  return `${dir}/${name}`;
}
