/**
 * The program itself as a child process: started from the sources, or from the bundle where `SLUICE_BUNDLE` names it.
 *
 * Promises that the configuration lies in a scratch folder of its own, that the status page answers when `start`
 * returns, and that the process is gone after the test. What it printed is part of every failure.
 */
import { runtimeFlags } from "../../config/debian/package.ts";
import { freePort } from "../servers/free_port.ts";
import { waitFor } from "../servers/wait_for.ts";

const ROOT = new URL("../../", import.meta.url).pathname;

/** What `/status.json` promises (and what tests read of it). */
export interface StatusJson {
  readonly state: string;
  /** What is wrong right now. */
  readonly sentence: string | null;
  readonly totals: Record<string, number>;
  readonly lanes: Record<string, { pending: number; state: string; reason: string | null; lag_s: number }>;
  readonly broker: {
    connected: boolean;
    error: string | null;
    dropped: number | null;
    refused: readonly string[];
  };
  readonly database: { reachable: boolean };
  readonly pool: Record<string, number> | null;
  readonly spool: { bytes: number; entries: number; max_bytes: number; full: boolean; bytes_written: number };
}

export interface SluiceOptions {
  readonly config: Record<string, unknown>;
  /** Folder for configuration and spool; default: a new one, removed at the end. */
  readonly dir?: string;
  readonly env?: Record<string, string>;
  /** Goes before the command, e.g. to run it in another network. */
  readonly command?: readonly string[];
  /** Where the status page listens. Default 127.0.0.1; any other address is given a token. */
  readonly host?: string;
}

const TOKEN = "for tests only";

/** Arguments for `deno` that run the program: from the bundle where the environment names one, and then with no more rights than it is shipped with. */
export function programArguments(): string[] {
  const bundle = Deno.env.get("SLUICE_BUNDLE");
  return bundle
    ? ["run", ...runtimeFlags(), bundle]
    : ["run", "-A", `--config=${ROOT}deno.json`, `${ROOT}main.ts`];
}

export class Sluice implements AsyncDisposable {
  readonly dir: string;
  readonly configFile: string;
  readonly statusUrl: string;
  readonly #env: Record<string, string>;
  readonly #command: readonly string[];
  readonly #temporary: boolean;
  #child: Deno.ChildProcess | undefined;
  #exited: Promise<Deno.CommandStatus> | undefined;
  #output = "";

  private constructor(dir: string, port: number, options: SluiceOptions) {
    this.dir = dir;
    this.configFile = `${dir}/sluice.json`;
    this.statusUrl = `http://${options.host ?? "127.0.0.1"}:${port}`;
    this.#env = options.env ?? {};
    this.#command = options.command ?? [];
    this.#temporary = options.dir === undefined;
  }

  /** Writes the configuration without starting the program. */
  static async prepare(options: SluiceOptions): Promise<Sluice> {
    const dir = options.dir ?? await Deno.makeTempDir({ prefix: "sluice-e2e-" });
    const port = freePort();
    const sluice = new Sluice(dir, port, options);
    await sluice.configure(options.config);
    return sluice;
  }

  /** Starts the program and waits until its status page answers. */
  static async start(options: SluiceOptions): Promise<Sluice> {
    const sluice = await Sluice.prepare(options);
    await sluice.start();
    return sluice;
  }

  async configure(config: Record<string, unknown>): Promise<void> {
    const listen = this.statusUrl.slice("http://".length);
    const status = listen.startsWith("127.") ? { listen } : { listen, token: TOKEN };
    await Deno.writeTextFile(this.configFile, JSON.stringify({ status, ...config }, null, 2));
  }

  get pid(): number {
    return this.#child!.pid;
  }

  get running(): boolean {
    return this.#child !== undefined;
  }

  /** Everything the program has printed. */
  get output(): string {
    return this.#output;
  }

  async start(): Promise<void> {
    this.spawn();
    const child = this.#child;
    try {
      await waitFor(async () => this.#child !== child || (await this.#get("/healthz")) === 200, {
        what: "the status page to answer",
        timeoutMs: 60_000,
      });
    } catch (error) {
      await this.kill();
      throw new Error(`${(error as Error).message}\n${this.#output}`);
    }
    if (this.#child !== child) throw new Error(`sluice ended while starting:\n${this.#output}`);
  }

  /** Starts the program without waiting for anything. */
  spawn(): void {
    const [program, ...args] = [...this.#command, Deno.execPath(), ...programArguments()];
    const child = new Deno.Command(program!, {
      args: [...args, "run", "-c", this.configFile],
      cwd: this.dir,
      env: this.#env,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#child = child;
    const reading = [this.#read(child.stdout), this.#read(child.stderr)];
    this.#exited = child.status.then(async (status) => {
      await Promise.all(reading);
      if (this.#child === child) this.#child = undefined;
      return status;
    });
  }

  async #read(stream: ReadableStream<Uint8Array>): Promise<void> {
    for await (const text of stream.pipeThrough(new TextDecoderStream())) this.#output += text;
  }

  async #get(path: string): Promise<number> {
    const response = await this.fetch(path);
    await response.body?.cancel();
    return response.status;
  }

  /** Asks the status page. */
  async fetch(path: string): Promise<Response> {
    return await fetch(this.statusUrl + path, { headers: { authorization: `Bearer ${TOKEN}` } });
  }

  async status(): Promise<StatusJson> {
    return await (await this.fetch("/status.json")).json();
  }

  /** What keeps it from being ready, as `/readyz` says; empty where nothing does. */
  async notReady(): Promise<string[]> {
    return (await (await this.fetch("/readyz")).json()).reasons;
  }

  /** Waits until `condition` holds for the status; fails with the last one and the program's output. */
  async until(
    what: string,
    condition: (status: StatusJson) => boolean,
    timeoutMs = 60_000,
  ): Promise<StatusJson> {
    let last: StatusJson | undefined;
    try {
      await waitFor(async () => {
        last = await this.status();
        return condition(last);
      }, { what, timeoutMs });
    } catch (error) {
      throw new Error(
        `${(error as Error).message}\nstatus: ${JSON.stringify(last, null, 1)}\n${this.#output}`,
      );
    }
    return last!;
  }

  /** Sends a signal; SIGKILL waits until the process is gone. */
  async kill(signal: Deno.Signal = "SIGKILL"): Promise<void> {
    if (!this.#child) return;
    this.#child.kill(signal);
    if (signal === "SIGKILL") await this.#exited;
  }

  /** Waits for the end of the process and returns its exit code. */
  async exitCode(): Promise<number> {
    return (await this.#exited!).code;
  }

  /** SIGTERM; returns the exit code. */
  async stop(): Promise<number> {
    if (!this.#child) return 0;
    await this.kill("SIGTERM");
    return await this.exitCode();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    if (this.#temporary) await Deno.remove(this.dir, { recursive: true }).catch(() => {});
  }
}

/** The two sums of the promise; throws where one does not hold. */
export function checkSums({ totals }: StatusJson): void {
  const { received, duplicate, unrouted, routed, deliveries, stored, filtered, dead, dropped, pending } =
    totals;
  if (received !== duplicate + unrouted + routed) {
    throw new Error(`first sum is broken: ${JSON.stringify(totals)}`);
  }
  if (deliveries !== stored + filtered + dead + dropped + pending) {
    throw new Error(`second sum is broken: ${JSON.stringify(totals)}`);
  }
}
