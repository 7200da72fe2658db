/**
 * A private MySQL server (the real one, not MariaDB) for one test. See `database.ts` for what it promises.
 *
 * Debian's stable releases carry no MySQL, so it is taken from a folder that debootstrap filled from unstable
 * (`install.ts`). It runs with the folder's own dynamic loader and libraries: no chroot, paths mean what they say.
 */
import { type Database, type DatabaseOptions, exists, type Installation, startDatabase } from "./database.ts";
import { run } from "./server_process.ts";

const ARGS = [
  "--secure-file-priv=",
  "--mysqlx=OFF",
  "--skip-log-bin",
  "--performance-schema=OFF",
  "--innodb-redo-log-capacity=16M",
];

/** Starts a MySQL server. Throws where it is not installed, or with the end of the server's log. */
export async function startMysql(options: DatabaseOptions = {}): Promise<Database> {
  return await startDatabase(await installation(), options);
}

/** The folder into which debootstrap, run by root, puts MySQL: in $SLUICE_TEST_CACHE, else in /var/cache/sluice-tests. */
export function mysqlRoot(): string {
  return `${Deno.env.get("SLUICE_TEST_CACHE") ?? "/var/cache/sluice-tests"}/mysql-sid`;
}

/** The command that runs the server, or undefined where it is not installed. */
export function findMysql(): readonly string[] | undefined {
  const root = mysqlRoot();
  const [machine, loader] = Deno.build.arch === "aarch64"
    ? ["aarch64-linux-gnu", `${root}/usr/lib/aarch64-linux-gnu/ld-linux-aarch64.so.1`]
    : ["x86_64-linux-gnu", `${root}/usr/lib64/ld-linux-x86-64.so.2`];
  const server = `${root}/usr/sbin/mysqld`;
  if (!exists(server) || !exists(loader)) return undefined;
  return [loader, "--library-path", `${root}/usr/lib/${machine}`, server];
}

let known: Promise<Installation> | undefined;

function installation(): Promise<Installation> {
  return known ??= inspect();
}

async function inspect(): Promise<Installation> {
  const command = findMysql();
  if (!command) throw new Error(`MySQL is not installed in ${mysqlRoot()}; deno task test installs it`);
  const [program, ...first] = command;
  const places = [`--basedir=${mysqlRoot()}/usr`, `--lc-messages-dir=${mysqlRoot()}/usr/share/mysql`];
  const version = (await run(program!, [...first, "--version"])).match(/Ver ([\d.]+)/)?.[1] ?? "unknown";
  return {
    flavour: "mysql",
    version,
    command,
    args: [...places, ...ARGS],
    async initialise(dataDir, sqlFile) {
      await run(program!, [
        ...[
          ...first,
          "--no-defaults",
          "--initialize-insecure",
          `--datadir=${dataDir}`,
          `--init-file=${sqlFile}`,
        ],
        ...[...places, ...ARGS, ...(Deno.uid() === 0 ? ["--user=root"] : [])],
      ]);
    },
  };
}
