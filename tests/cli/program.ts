/**
 * The program as a process that a test can read along with, type into and signal. Gone after the test.
 */
import { programArguments } from "../e2e/sluice.ts";
import { findProgram } from "../servers/find_program.ts";
import { testWith } from "../servers/needs.ts";
import { waitFor } from "../servers/wait_for.ts";

export interface ProgramOptions {
  readonly env?: Record<string, string>;
  readonly cwd?: string;
  /** Run it on a pseudo-terminal, by way of script(1): then `out` has everything that the terminal shows. */
  readonly terminal?: boolean;
}

export interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export class Program implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #reading: Promise<unknown>;
  readonly #deaf = new AbortController();
  out = "";
  err = "";

  constructor(args: readonly string[], { env, cwd, terminal }: ProgramOptions = {}) {
    const command = [Deno.execPath(), ...programArguments(), ...args];
    const [program, ...rest] = terminal
      ? ["script", "-qefc", `stty cols 100 rows 40; exec ${quoted(command)}`, "/dev/null"]
      : command;
    this.#child = new Deno.Command(program, {
      args: rest,
      cwd,
      env: { NO_COLOR: "1", ...env },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#input = this.#child.stdin.getWriter();
    this.#reading = Promise.all([
      read(this.#child.stdout, (text) => this.out += text, this.#deaf.signal),
      read(this.#child.stderr, (text) => this.err += text),
    ]);
  }

  /** Waits until the condition holds for what was printed; fails with what was printed instead. */
  async until(what: string, condition: (program: Program) => unknown): Promise<void> {
    try {
      await waitFor(async () => Boolean(await condition(this)), { what, timeoutMs: 30_000 });
    } catch (error) {
      throw new Error(`${(error as Error).message}\nstdout: ${this.out}\nstderr: ${this.err}`);
    }
  }

  async type(text: string): Promise<void> {
    await this.#input.write(new TextEncoder().encode(text));
  }

  /** Closes the reading end of stdout, as `head` does. */
  stopReading(): void {
    this.#deaf.abort();
  }

  kill(signal: Deno.Signal): void {
    this.#child.kill(signal);
  }

  async ended(): Promise<Ended> {
    const { code } = await this.#child.status;
    await this.#reading;
    return { code, out: this.out, err: this.err };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#input.close().catch(() => {});
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended already.
    }
    await this.ended();
  }
}

async function read(
  stream: ReadableStream<Uint8Array>,
  take: (text: string) => void,
  signal?: AbortSignal,
): Promise<void> {
  const texts = new WritableStream<string>({ write: take });
  await stream.pipeThrough(new TextDecoderStream(), { signal }).pipeTo(texts).catch((error) => {
    if (!signal?.aborted) throw error;
  });
}

/** Runs the program to its end, without a terminal. */
export async function sluice(args: readonly string[], options: ProgramOptions = {}): Promise<Ended> {
  await using program = new Program(args, options);
  return await program.ended();
}

/** A scratch folder for one test; the configuration, where one is given, lies in it as `sluice.json`. */
export async function withFolder(
  config: unknown,
  test: (file: string, dir: string) => Promise<void>,
): Promise<void> {
  const dir = await Deno.makeTempDir({ prefix: "sluice-cli-" });
  try {
    const file = `${dir}/sluice.json`;
    const text = typeof config === "string" ? config : JSON.stringify(config);
    if (config !== undefined) await Deno.writeTextFile(file, text);
    await test(file, dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** `testWith` for a test that also needs a pseudo-terminal, hence script(1). */
export const testOnTerminal: typeof testWith = (needs, name, fn, options) =>
  findProgram("script")
    ? testWith(needs, name, fn, options)
    : Deno.test({ name, ignore: true, fn: () => {} });

const quoted = (words: readonly string[]) =>
  words.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(" ");
