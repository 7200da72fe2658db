/**
 * A server as a child process: started, found ready, signalled, stopped, started again.
 *
 * Promises that `start` returns only when the server answers, that its output is in a file whose end is part of
 * the error when it does not, that `stop` leaves no process behind, and that the process dies with the test
 * process that started it. It does not look after the server's files.
 */
import { waitFor } from "./wait_for.ts";

export interface ServerCommand {
  /** For error messages: "mosquitto". */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** Where standard output and standard error go; appended to. */
  readonly logFile: string;
  readonly env?: Record<string, string>;
  /** Throws or returns false as long as the server does not answer. */
  readonly answers: () => Promise<boolean>;
  /** How long the server may take until it answers, in milliseconds. Default 60000. */
  readonly startTimeoutMs?: number;
}

/** How long a server may take to stop by itself before it is killed. */
const STOP_TIMEOUT_MS = 20_000;

/** States: stopped (no process), running (a process that answered once; it may be frozen by SIGSTOP). */
export class ServerProcess {
  readonly #command: ServerCommand;
  #child: Deno.ChildProcess | undefined;
  #exited: Promise<Deno.CommandStatus> | undefined;

  constructor(command: ServerCommand) {
    this.#command = command;
  }

  get running(): boolean {
    return this.#child !== undefined;
  }

  /** Process id. Throws where the server is stopped. */
  get pid(): number {
    if (!this.#child) throw new Error(`${this.#command.name} is not running, so it has no process id`);
    return this.#child.pid;
  }

  /** Starts the server and waits until it answers. Throws with the end of its log where it does not. */
  async start(): Promise<void> {
    if (this.#child) {
      throw new Error(`${this.#command.name} is running already as process ${this.#child.pid}`);
    }
    const child = this.#spawn();
    this.#child = child;
    this.#exited = child.status.then((status) => {
      if (this.#child === child) this.#child = undefined;
      return status;
    });
    try {
      await waitFor(() => this.#child !== child || this.#command.answers(), {
        what: `${this.#command.name} to answer`,
        timeoutMs: this.#command.startTimeoutMs ?? 60_000,
      });
    } catch (error) {
      await this.kill("SIGKILL");
      throw new Error(`${(error as Error).message}\n${this.log()}`, { cause: error });
    }
    if (this.#child !== child) {
      const { code, signal } = await this.#exited;
      throw new Error(
        `${this.#command.name} ended with ${signal ?? `code ${code}`} while starting\n${this.log()}`,
      );
    }
  }

  /**
   * Sends a signal. SIGKILL: returns when the process is gone; SIGSTOP: when all of its threads stand still; any other: at
   * once. Harmless where it is stopped.
   */
  async kill(signal: Deno.Signal = "SIGKILL"): Promise<void> {
    if (!this.#child) return;
    this.#child.kill(signal);
    if (signal === "SIGKILL") await this.#exited;
    if (signal === "SIGSTOP") {
      await waitFor(() => standsStill(this.pid), { what: "the server to stand still" });
    }
  }

  /** Asks the server to end, wakes it if it is frozen, and kills it where that takes too long. */
  async stop(): Promise<void> {
    if (!this.#child) return;
    this.#child.kill("SIGTERM");
    this.#child.kill("SIGCONT");
    const timer = setTimeout(() => this.#child?.kill("SIGKILL"), STOP_TIMEOUT_MS);
    await this.#exited;
    clearTimeout(timer);
  }

  /** Stops the server if it runs and starts it again with the same command. */
  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  /** Resolves with the exit status as soon as the process has ended; at once where it was never started. */
  async ended(): Promise<void> {
    await this.#exited;
  }

  /** The last lines of what the server wrote. */
  log(lines = 40): string {
    try {
      return Deno.readTextFileSync(this.#command.logFile).trimEnd().split("\n").slice(-lines).join("\n");
    } catch {
      return "(no log)";
    }
  }

  /** `exec` keeps the process id; `setpriv` lets the kernel kill the server when the test process dies. */
  #spawn(): Deno.ChildProcess {
    const { command, args, logFile, env } = this.#command;
    const script = 'exec setpriv --pdeathsig KILL -- "$@" >>"$0" 2>&1';
    return new Deno.Command("sh", {
      args: ["-c", script, logFile, command, ...args],
      env,
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
  }
}

/** True when something accepts TCP connections there. */
export async function accepts(port: number, hostname = "127.0.0.1"): Promise<boolean> {
  try {
    (await Deno.connect({ hostname, port })).close();
    return true;
  } catch {
    return false;
  }
}

export interface RunOptions {
  readonly cwd?: string;
  readonly stdin?: string;
  readonly env?: Record<string, string>;
  /** How long it may take, in milliseconds. Default 120000. */
  readonly timeoutMs?: number;
}

/** Runs a program to its end and returns what it printed. Throws with both outputs where it fails or takes too long. */
export async function run(
  command: string,
  args: readonly string[],
  { stdin, timeoutMs = 120_000, ...place }: RunOptions = {},
): Promise<string> {
  const child = new Deno.Command(command, {
    ...place,
    args: [...args],
    stdin: stdin === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const output = child.output();
  const timer = setTimeout(() => child.kill("SIGKILL"), timeoutMs);
  // A program that ends without reading its input breaks the pipe; its exit code says why.
  if (stdin !== undefined) await new Blob([stdin]).stream().pipeTo(child.stdin).catch(() => {});
  const { success, code, signal, stdout, stderr } = await output;
  clearTimeout(timer);
  const text = new TextDecoder();
  if (success) return text.decode(stdout);
  const how = signal ? `${signal} (it may take ${timeoutMs} ms)` : `code ${code}`;
  throw new Error(
    `${command} ${args.join(" ")} ended with ${how}\n${text.decode(stdout)}${text.decode(stderr)}`,
  );
}

/** Whether all threads of a process are stopped: a signal reaches them one after another. */
function standsStill(pid: number): boolean {
  return [...Deno.readDirSync(`/proc/${pid}/task`)].every(({ name }) => {
    const stat = Deno.readTextFileSync(`/proc/${pid}/task/${name}/stat`);
    return stat.slice(stat.lastIndexOf(")") + 2, stat.lastIndexOf(")") + 3) === "T";
  });
}
