/**
 * A private mosquitto for one test: on a free loopback port, in a scratch folder, gone when the test is over.
 *
 * Promises that the broker accepts connections when `startMosquitto` returns and that `restart` keeps port and
 * folder, hence the sessions where `persistence` is on. The limit on queued messages is lifted, because mosquitto
 * drops the 1001st message for a sleeping session without a word. It never touches a broker that it did not start.
 */
import { type Certificates, makeCertificates } from "./certificates.ts";
import { exists } from "./database.ts";
import { freePort } from "./free_port.ts";
import { accepts, run, ServerProcess } from "./server_process.ts";

export interface MosquittoOptions {
  /** Default: a free one. */
  readonly port?: number;
  /** Scratch folder; default: a new one, removed on dispose. A given one is kept. */
  readonly dir?: string;
  /** Further lines of mosquitto.conf. */
  readonly config?: readonly string[];
  /** Keep sessions and retained messages over a clean restart. Default false, which is mosquitto's own default. */
  readonly persistence?: boolean;
  /** User names with passwords; with them anonymous clients are refused. */
  readonly users?: Readonly<Record<string, string>>;
  /** A second listener with TLS; `"clientCertificate"` also asks the client for one. */
  readonly tls?: boolean | "clientCertificate";
  /** A listener for MQTT over WebSocket. */
  readonly websockets?: boolean;
}

export interface Mosquitto extends AsyncDisposable {
  readonly port: number;
  /** mqtt://127.0.0.1:port */
  readonly url: string;
  readonly dir: string;
  /** mqtts://localhost:port and its certificates, where `tls` was asked for. */
  readonly tls: ({ readonly port: number; readonly url: string } & Certificates) | undefined;
  /** ws://127.0.0.1:port, where `websockets` was asked for. */
  readonly websocketUrl: string | undefined;
  /** Process id; another one after a restart. */
  readonly pid: number;
  readonly running: boolean;
  /** SIGKILL (default) returns when the process is gone, any other signal at once. */
  kill(signal?: Deno.Signal): Promise<void>;
  stop(): Promise<void>;
  /** Stops the broker, if it runs, and starts it on the same port in the same folder. */
  restart(): Promise<void>;
  /** The last lines of the broker's log. */
  log(lines?: number): string;
}

/** Where the plugin is that holds users and rules, and takes changes of them while the broker runs. */
export function findDynsec(): string | undefined {
  return ["x86_64-linux-gnu", "aarch64-linux-gnu"].map((it) => `/usr/lib/${it}/mosquitto_dynamic_security.so`)
    .find(exists);
}

/** Tries other ports where someone took the free one first. */
const START_ATTEMPTS_MAX = 4;

/** Starts a broker and waits until it accepts connections. Throws with the end of its log where it does not. */
export async function startMosquitto(options: MosquittoOptions = {}): Promise<Mosquitto> {
  const dir = options.dir ?? await Deno.makeTempDir({ prefix: "sluice-mosquitto-" });
  try {
    for (let attempt = 1;; attempt++) {
      const plan = await prepare(dir, options);
      try {
        await plan.process.start();
        return broker(plan, dir, options.dir === undefined);
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

interface Plan {
  readonly process: ServerProcess;
  readonly port: number;
  readonly tls: Mosquitto["tls"];
  readonly websocketPort: number | undefined;
}

async function prepare(dir: string, options: MosquittoOptions): Promise<Plan> {
  const port = options.port ?? freePort();
  const websocketPort = options.websockets ? freePort() : undefined;
  const tlsPort = freePort();
  const tls = options.tls
    ? { port: tlsPort, url: `mqtts://localhost:${tlsPort}`, ...await makeCertificates(dir) }
    : undefined;
  const lines = [
    "log_dest stderr",
    "log_timestamp_format %H:%M:%S",
    "max_queued_messages 1000000",
    `allow_anonymous ${options.users === undefined}`,
    `persistence ${options.persistence ?? false}`,
    `persistence_location ${dir}/`,
    ...(Deno.uid() === 0 ? ["user root"] : []),
    ...(options.users ? [`password_file ${await passwordFile(dir, options.users)}`] : []),
    ...(options.config ?? []),
    `listener ${port} 127.0.0.1`,
    ...(websocketPort ? [`listener ${websocketPort} 127.0.0.1`, "protocol websockets"] : []),
    ...(tls ? tlsListener(tls, options.tls === "clientCertificate") : []),
  ];
  const file = `${dir}/mosquitto.conf`;
  await Deno.writeTextFile(file, lines.join("\n") + "\n");
  const process = new ServerProcess({
    name: "mosquitto",
    command: "mosquitto",
    args: ["-c", file],
    logFile: `${dir}/mosquitto.log`,
    env: { PATH: `${Deno.env.get("PATH")}:/usr/sbin:/usr/local/sbin` },
    answers: () => accepts(port),
  });
  return { process, port, tls, websocketPort };
}

function tlsListener(tls: NonNullable<Mosquitto["tls"]>, askClient: boolean): string[] {
  return [
    `listener ${tls.port} 127.0.0.1`,
    `cafile ${tls.ca}`,
    `certfile ${tls.serverCert}`,
    `keyfile ${tls.serverKey}`,
    `require_certificate ${askClient}`,
  ];
}

async function passwordFile(dir: string, users: Readonly<Record<string, string>>): Promise<string> {
  const file = `${dir}/passwords`;
  await Deno.writeTextFile(file, "");
  for (const [user, password] of Object.entries(users)) {
    await run("mosquitto_passwd", ["-b", file, user, password]);
  }
  return file;
}

function broker({ process, port, tls, websocketPort }: Plan, dir: string, removeDir: boolean): Mosquitto {
  return {
    port,
    url: `mqtt://127.0.0.1:${port}`,
    dir,
    tls,
    websocketUrl: websocketPort ? `ws://127.0.0.1:${websocketPort}` : undefined,
    get pid() {
      return process.pid;
    },
    get running() {
      return process.running;
    },
    kill: (signal) => process.kill(signal),
    stop: () => process.stop(),
    restart: () => process.restart(),
    log: (lines) => process.log(lines),
    async [Symbol.asyncDispose]() {
      await process.stop();
      if (removeDir) await Deno.remove(dir, { recursive: true });
    },
  };
}
