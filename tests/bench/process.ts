/**
 * Processes as the benchmarks see them: started, watched through /proc, ended.
 */

export interface Program extends AsyncDisposable {
  readonly pid: number;
  /** What it has printed so far. */
  output(): string;
  readonly status: Promise<Deno.CommandStatus>;
}

export function spawn(command: string, args: readonly string[]): Program {
  const child = new Deno.Command(command, {
    args: [...args],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let output = "";
  const read = async (stream: ReadableStream<Uint8Array>) => {
    for await (const text of stream.pipeThrough(new TextDecoderStream())) {
      output = (output + text).slice(-100_000);
    }
  };
  const reading = Promise.all([read(child.stdout), read(child.stderr)]);
  return {
    pid: child.pid,
    output: () => output,
    status: child.status,
    async [Symbol.asyncDispose]() {
      try {
        child.kill("SIGKILL");
      } catch {
        // It has ended by itself.
      }
      await child.status;
      await reading;
    },
  };
}

/** Waits for the program's own end; throws with its output where it failed. */
export async function ended(program: Program): Promise<void> {
  const { code } = await program.status;
  if (code !== 0) throw new Error(`a program of the benchmark ended with code ${code}:\n${program.output()}`);
}

/** Clock ticks a second in /proc (`getconf CLK_TCK`), which is 100 on every Linux that Deno runs on. */
const TICKS_PER_SECOND = 100;

/** User and system time of all threads so far. 0 where the process is gone. */
export function cpuSeconds(pid: number): number {
  const fields = readProc(pid, "stat").split(") ")[1]?.split(" ");
  return fields ? (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND : 0;
}

export function residentMb(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readProc(pid, "status"))?.[1] ?? 0) / 1024;
}

/** `wchar`: bytes given to write calls, pipes and sockets included. `written`: bytes that must reach the disk. */
export function diskBytes(pid: number): { wchar: number; written: number } {
  const io = readProc(pid, "io");
  const field = (name: string) => Number(new RegExp(`^${name}: (\\d+)`, "m").exec(io)?.[1] ?? 0);
  return { wchar: field("wchar"), written: field("write_bytes") };
}

function readProc(pid: number, file: string): string {
  try {
    return Deno.readTextFileSync(`/proc/${pid}/${file}`);
  } catch {
    return "";
  }
}

export function median(values: readonly number[]): number {
  return percentile(values, 50);
}

export function percentile(values: readonly number[], percent: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * percent / 100))];
}
