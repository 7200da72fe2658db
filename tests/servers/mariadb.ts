/**
 * A private MariaDB server for one test, from the packages of the system. See `database.ts` for what it promises.
 */
import { type Database, type DatabaseOptions, type Installation, startDatabase } from "./database.ts";
import { findProgram } from "./find_program.ts";
import { run } from "./server_process.ts";

/** Redo logs of 16 MB instead of 96: a data directory is copied for every test. */
const ARGS = ["--innodb-log-file-size=16M"];

/** Starts a MariaDB server. Throws where the package mariadb-server is not installed, or with the end of the server's log. */
export async function startMariadb(options: DatabaseOptions = {}): Promise<Database> {
  return await startDatabase(await installation(), options);
}

/** Path of the server, or undefined where MariaDB is not installed. */
export function findMariadb(): string | undefined {
  return findProgram("mariadbd");
}

let known: Promise<Installation> | undefined;

function installation(): Promise<Installation> {
  return known ??= inspect();
}

async function inspect(): Promise<Installation> {
  const program = findMariadb();
  if (!program) throw new Error("mariadbd is not installed; apt-get install mariadb-server");
  const version = (await run(program, ["--version"])).match(/Ver (\S+?)-MariaDB/)?.[1] ?? "unknown";
  return {
    flavour: "mariadb",
    version,
    command: [program],
    args: ARGS,
    initialise: (dataDir, sqlFile) => initialise(dataDir, sqlFile),
  };
}

async function initialise(dataDir: string, sqlFile: string): Promise<void> {
  await run("mariadb-install-db", [
    "--no-defaults",
    `--datadir=${dataDir}`,
    `--extra-file=${sqlFile}`,
    "--auth-root-authentication-method=normal",
    "--skip-test-db",
    "--skip-name-resolve",
    ...(Deno.uid() === 0 ? ["--user=root"] : []),
    ...ARGS,
  ]);
}
