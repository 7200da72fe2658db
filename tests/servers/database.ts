/**
 * A private MariaDB or MySQL server for one test: the promise that both flavours share, and the code for it.
 *
 * Promises that the server takes logins when `start...` returns, that user `sluice` with password `secret` owns the
 * database `home` (utf8mb4), that `restart` keeps port and data, and that nothing is left on dispose. Durability is
 * the server's default: what it committed survives `kill()`. It never touches a server that it did not start.
 */
import { createConnection } from "mysql2/promise";
import { type Certificates, makeCertificates } from "./certificates.ts";
import { freePort } from "./free_port.ts";
import { run, ServerProcess } from "./server_process.ts";

export type Flavour = "mariadb" | "mysql";

/** A row as the statement shapes it. */
// deno-lint-ignore no-explicit-any -- only the statement knows the types of its columns
export type ResultRow = Record<string, any>;

export interface DatabaseOptions {
  /** Further arguments for the server, e.g. `--max-connections=5`; they win over the defaults. */
  readonly args?: readonly string[];
  /** Folder for data, socket and log; default: a new one, removed on dispose. A given one is kept, and its data used where it has some. */
  readonly dir?: string;
  /** Default: a free one. */
  readonly port?: number;
  /** TLS with a certificate for localhost from an authority of its own. Default false. */
  readonly tls?: boolean;
}

export interface Database extends AsyncDisposable {
  readonly flavour: Flavour;
  /** "10.11.19" or "9.7.4". */
  readonly version: string;
  readonly port: number;
  /** Path of its unix socket. */
  readonly socket: string;
  readonly dir: string;
  readonly dataDir: string;
  /** Where `tls` was asked for. */
  readonly tls: Certificates | undefined;
  /** Process id; another one after a restart. */
  readonly pid: number;
  readonly running: boolean;
  /** mysql://user:password@127.0.0.1:port/database. Default database `home`, user `sluice:secret`. */
  url(database?: string, user?: string): string;
  /** Runs one statement as root over the unix socket and returns its rows (none for a statement without rows). Dates are strings. */
  admin(sql: string, values?: readonly unknown[]): Promise<ResultRow[]>;
  /** Makes an empty utf8mb4 database that `sluice` owns and returns its name. Default: a new name. */
  createDatabase(name?: string): Promise<string>;
  /** SIGKILL (default) returns when the process is gone, any other signal at once. */
  kill(signal?: Deno.Signal): Promise<void>;
  stop(): Promise<void>;
  /** Stops the server, if it runs, and starts it on the same port with the same data. */
  restart(): Promise<void>;
  /** The last lines of the server's log. */
  log(lines?: number): string;
}

/** What differs between the flavours. */
export interface Installation {
  readonly flavour: Flavour;
  readonly version: string;
  /** The program and the arguments without which it does not run at all. */
  readonly command: readonly string[];
  readonly args: readonly string[];
  /** Makes a data directory with a password-less root and runs `sqlFile` in it. */
  initialise(dataDir: string, sqlFile: string): Promise<void>;
}

/** Raised whenever the contents of a template change. */
const TEMPLATE_VERSION = 2;
const START_ATTEMPTS_MAX = 4;

/** FLUSH PRIVILEGES switches the grant tables on, which MariaDB's bootstrap leaves off. */
const FIRST_SQL = `
FLUSH PRIVILEGES;
CREATE DATABASE home CHARACTER SET utf8mb4;
CREATE USER sluice@'%' IDENTIFIED BY 'secret';
GRANT ALL PRIVILEGES ON home.* TO sluice@'%';
`;

/** Small, local and quiet; everything that matters for durability stays at its default. */
const SMALL = [
  "--skip-name-resolve",
  "--innodb-buffer-pool-size=64M",
  "--bind-address=127.0.0.1",
  ...(Deno.uid() === 0 ? ["--user=root"] : []),
];

/** Starts a server of this installation and waits until it takes logins. Throws with the end of its log where it does not. */
export async function startDatabase(software: Installation, options: DatabaseOptions): Promise<Database> {
  const dir = options.dir ?? await Deno.makeTempDir({ prefix: `sluice-${software.flavour}-` });
  try {
    const dataDir = `${dir}/data`;
    if (!exists(dataDir)) await run("cp", ["-a", "--reflink=auto", await template(software), dataDir]);
    const tls = options.tls ? await makeCertificates(dir) : undefined;
    for (let attempt = 1;; attempt++) {
      const port = options.port ?? freePort();
      const server = serverProcess(software, dir, port, tls, options.args ?? []);
      try {
        await server.start();
        return database(software, server, { dir, dataDir, port, tls, removeDir: options.dir === undefined });
      } catch (error) {
        const taken = /address already in use/i.test((error as Error).message);
        if (!taken || options.port !== undefined || attempt === START_ATTEMPTS_MAX) throw error;
      }
    }
  } catch (error) {
    if (options.dir === undefined) await Deno.remove(dir, { recursive: true });
    throw error;
  }
}

function serverProcess(
  { flavour, command, args }: Installation,
  dir: string,
  port: number,
  tls: Certificates | undefined,
  more: readonly string[],
): ServerProcess {
  const [program, ...first] = command;
  const places = [
    `--datadir=${dir}/data`,
    `--socket=${dir}/socket`,
    `--pid-file=${dir}/pid`,
    // In a shared one each server that starts deletes the files of the others.
    `--tmpdir=${dir}`,
    `--port=${port}`,
  ];
  const certificates = tls
    ? [`--ssl-ca=${tls.ca}`, `--ssl-cert=${tls.serverCert}`, `--ssl-key=${tls.serverKey}`]
    : [];
  return new ServerProcess({
    name: flavour,
    command: program!,
    args: [...first, "--no-defaults", ...places, ...SMALL, ...args, ...certificates, ...more],
    logFile: `${dir}/log`,
    answers: async () => {
      await query(`${dir}/socket`, "SELECT 1", []);
      return true;
    },
  });
}

interface Place {
  readonly dir: string;
  readonly dataDir: string;
  readonly port: number;
  readonly tls: Certificates | undefined;
  readonly removeDir: boolean;
}

function database(software: Installation, server: ServerProcess, place: Place): Database {
  const { dir, dataDir, port, tls } = place;
  const socket = `${dir}/socket`;
  const admin = (sql: string, values: readonly unknown[] = []) => query(socket, sql, values);
  return {
    flavour: software.flavour,
    version: software.version,
    port,
    socket,
    dir,
    dataDir,
    tls,
    get pid() {
      return server.pid;
    },
    get running() {
      return server.running;
    },
    url: (name = "home", user = "sluice:secret") => `mysql://${user}@127.0.0.1:${port}/${name}`,
    admin,
    async createDatabase(name = `home_${crypto.randomUUID().slice(0, 8)}`) {
      await admin(`CREATE DATABASE \`${name}\` CHARACTER SET utf8mb4`);
      await admin(`GRANT ALL PRIVILEGES ON \`${name}\`.* TO sluice@'%'`);
      return name;
    },
    kill: (signal) => server.kill(signal),
    stop: () => server.stop(),
    restart: () => server.restart(),
    log: (lines) => server.log(lines),
    async [Symbol.asyncDispose]() {
      // A data directory that is about to be removed needs no orderly end.
      await (place.removeDir ? server.kill("SIGKILL") : server.stop());
      if (place.removeDir) await Deno.remove(dir, { recursive: true });
    },
  };
}

async function query(
  socket: string,
  sql: string,
  values: readonly unknown[],
): Promise<ResultRow[]> {
  const connection = await createConnection({
    socketPath: socket,
    user: "root",
    charset: "utf8mb4",
    dateStrings: true,
    supportBigNumbers: true,
  });
  try {
    const [rows] = await connection.query(sql, [...values]);
    return Array.isArray(rows) ? rows as ResultRow[] : [];
  } finally {
    await connection.end().catch(() => connection.destroy());
  }
}

/** Where installations and templates are kept between runs: $SLUICE_TEST_CACHE, else /var/cache/sluice-tests, else below the temp folder. */
export function cacheDir(): string {
  const given = Deno.env.get("SLUICE_TEST_CACHE");
  if (given) return given;
  if (Deno.uid() === 0) return "/var/cache/sluice-tests";
  return `${Deno.env.get("TMPDIR") ?? "/tmp"}/sluice-tests-${Deno.uid()}`;
}

/** The fresh data directory that every server begins with; made once for each version, safely when several processes need it at once. */
async function template(software: Installation): Promise<string> {
  const dir = `${cacheDir()}/${software.flavour}-${software.version}-data-${TEMPLATE_VERSION}`;
  if (exists(dir)) return dir;
  await Deno.mkdir(cacheDir(), { recursive: true });
  const fresh = await Deno.makeTempDir({ dir: cacheDir(), prefix: `${software.flavour}-unfinished-` });
  try {
    const sqlFile = `${fresh}/first.sql`;
    await Deno.writeTextFile(sqlFile, FIRST_SQL);
    await software.initialise(`${fresh}/data`, sqlFile);
    // auto.cnf holds the identity of one server; every copy shall make its own.
    await Deno.remove(`${fresh}/data/auto.cnf`).catch(() => {});
    await Deno.rename(`${fresh}/data`, dir).catch((error) => {
      if (!exists(dir)) throw error;
    });
  } finally {
    await Deno.remove(fresh, { recursive: true });
  }
  return dir;
}

export function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}
