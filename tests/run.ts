/**
 * The runner behind `deno task test`: installs the servers that the tests need where it may, makes the bundle,
 * and runs every test file in a process of its own, two at a time, the end-to-end ones alone.
 *
 * Promises that its last line is `N passed, N failed, N skipped`, summed over all files; that a test process which
 * crashes, hangs or does not load counts as a failure; that what could not be tested counts as skipped; and that
 * its exit code is 0 only where nothing failed. Types are `deno task ok`'s business.
 *
 * Arguments: parts of paths choose files (`deno task test tests/pool`), arguments with a dash go to `deno test`.
 */
import { installServers } from "./servers/install.ts";

/** Folders whose tests want the machine for themselves: they start whole gateways under load and measure. */
const ALONE = ["tests/e2e/", "tests/faults/", "tests/bench/", "tests/service/"];
const JOBS_MAX = Math.max(1, Math.min(2, navigator.hardwareConcurrency));
/** A file that takes longer hangs. */
const FILE_TIMEOUT_MS = 15 * 60_000;
const SLOWEST_SHOWN = 10;

interface Result {
  readonly file: string;
  readonly passed: number;
  readonly failed: number;
  /** Titles of the ignored tests. */
  readonly skipped: readonly string[];
  readonly seconds: number;
  readonly output: string;
}

const running = new Set<Deno.ChildProcess>();

if (import.meta.main) {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => {
      for (const child of running) killGroup(child);
      Deno.exit(1);
    });
  }
  Deno.exit(await main(Deno.args));
}

async function main(args: readonly string[]): Promise<number> {
  Deno.chdir(new URL("..", import.meta.url));
  const flags = args.filter((arg) => arg.startsWith("-") && arg !== "--");
  const files = testFiles(args.filter((arg) => !arg.startsWith("-")));
  const notes = await installServers((line) => console.log(line));
  const bundled = await bundle();
  await warm(files);
  const results = [...bundled, ...await runAll(files, flags)];
  summarise(results, notes);
  const sum = (count: (result: Result) => number) =>
    results.reduce((total, result) => total + count(result), 0);
  const failed = sum((result) => result.failed) + (files.length === 0 ? 1 : 0);
  if (files.length === 0) console.log(`no test file matches ${args.join(" ")}`);
  console.log(`${sum((r) => r.passed)} passed, ${failed} failed, ${sum((r) => r.skipped.length)} skipped`);
  return failed === 0 ? 0 : 1;
}

/** All test files below tests/ whose path contains one of `parts`, those that run alone last. */
function testFiles(parts: readonly string[]): string[] {
  const wanted = parts.map((part) => part.replace(/^\.\//, ""));
  const files = [...walk("tests")].filter((file) => file.endsWith("_test.ts"));
  const chosen = files.filter((file) => wanted.length === 0 || wanted.some((part) => file.includes(part)));
  return [...chosen.filter((file) => !isAlone(file)), ...chosen.filter(isAlone)];
}

function* walk(dir: string): Generator<string> {
  const entries = [...Deno.readDirSync(dir)].sort((a, b) => a.name < b.name ? -1 : 1);
  for (const { name, isDirectory } of entries) {
    if (isDirectory) yield* walk(`${dir}/${name}`);
    else yield `${dir}/${name}`;
  }
}

function isAlone(file: string): boolean {
  return ALONE.some((folder) => file.startsWith(folder));
}

/** Makes dist/sluice.js, which some tests run. A bundle that fails counts as a failed test. */
async function bundle(): Promise<Result[]> {
  if (!("bundle" in JSON.parse(Deno.readTextFileSync("deno.json")).tasks)) return [];
  const { success, text, seconds } = await deno(["task", "bundle"]);
  if (success) {
    // What is tested end to end is what is shipped.
    Deno.env.set("SLUICE_BUNDLE", `${Deno.cwd()}/dist/sluice.js`);
    return [];
  }
  const result = { file: "deno task bundle", passed: 0, failed: 1, skipped: [], seconds, output: text };
  report(result, 0, 0);
  return [result];
}

/** Fetches the packages once, before two processes do it at the same time. Errors show up when the tests run. */
async function warm(files: readonly string[]): Promise<void> {
  if (files.length > 0) await deno(["test", "--no-run", "--no-check", ...files]);
}

async function runAll(files: readonly string[], flags: readonly string[]): Promise<Result[]> {
  const results: Result[] = [];
  const queue = [...files];
  const worker = async (mayTake: (file: string) => boolean) => {
    while (queue.length > 0 && mayTake(queue[0]!)) {
      const result = await runFile(queue.shift()!, flags);
      results.push(result);
      report(result, results.length, files.length);
    }
  };
  await Promise.all(Array.from({ length: JOBS_MAX }, () => worker((file) => !isAlone(file))));
  await worker(() => true);
  return results;
}

async function runFile(file: string, flags: readonly string[]): Promise<Result> {
  const { success, text, seconds } = await deno(["test", "-A", "--no-check", ...flags, file]);
  const summary = [...text.matchAll(/^(?:ok|FAILED) \| (\d+) passed.*? \| (\d+) failed/gm)].at(-1);
  const skipped = [...text.matchAll(/^ *(.+) \.\.\. ignored \(/gm)].map((match) => match[1]!);
  const passed = Number(summary?.[1] ?? 0);
  // No summary: the process crashed, hung, or did not load the file.
  const failed = Number(summary?.[2] ?? 1) || (success ? 0 : 1);
  return { file, passed, failed, skipped, seconds, output: text };
}

/** Runs this very deno in a process group of its own and returns all that it printed, without colours. */
async function deno(args: readonly string[]): Promise<{ success: boolean; text: string; seconds: number }> {
  const beganMs = performance.now();
  const child = new Deno.Command(Deno.execPath(), {
    args: [...args],
    env: { NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    detached: true,
  }).spawn();
  running.add(child);
  const parts: string[] = [];
  const timer = setTimeout(() => {
    parts.push(`\nstopped: it took more than ${FILE_TIMEOUT_MS / 60_000} minutes\n`);
    killGroup(child);
  }, FILE_TIMEOUT_MS);
  const output = Promise.all([collect(child.stdout, parts), collect(child.stderr, parts)]);
  const { success } = await child.status;
  clearTimeout(timer);
  running.delete(child);
  // Whatever it left behind in its group would keep the pipes open.
  killGroup(child);
  await output;
  return { success, text: parts.join(""), seconds: (performance.now() - beganMs) / 1000 };
}

async function collect(stream: ReadableStream<Uint8Array<ArrayBuffer>>, parts: string[]): Promise<void> {
  for await (const part of stream.pipeThrough(new TextDecoderStream())) parts.push(part);
}

function killGroup(child: Deno.ChildProcess): void {
  try {
    Deno.kill(-child.pid, "SIGKILL");
  } catch {
    // Nobody is left in it.
  }
}

/** One line for a file that passed; everything it printed for one that did not. */
function report(
  { file, passed, failed, skipped, seconds, output }: Result,
  done: number,
  total: number,
): void {
  const counts = [`${passed} passed`];
  if (failed) counts.push(`${failed} failed`);
  if (skipped.length) counts.push(`${skipped.length} skipped`);
  const place = total ? `[${done}/${total}] ` : "";
  console.log(`${place}${failed ? "FAILED" : "ok"} ${file}: ${counts.join(", ")} (${seconds.toFixed(1)} s)`);
  if (failed) console.log(output.replaceAll(/^/gm, "    "));
}

function summarise(results: readonly Result[], notes: readonly string[]): void {
  const slowest = results.toSorted((a, b) => b.seconds - a.seconds).slice(0, SLOWEST_SHOWN);
  console.log("\nslowest files:");
  for (const { file, seconds } of slowest) console.log(`  ${seconds.toFixed(1).padStart(6)} s  ${file}`);
  const skipped = results.flatMap(({ file, skipped }) => skipped.map((title) => `${file}: ${title}`));
  if (skipped.length) console.log("\nskipped:");
  for (const line of skipped) console.log(`  ${line}`);
  const failed = results.filter((result) => result.failed > 0);
  if (failed.length) console.log("\nfailed:");
  for (const { file, failed: count } of failed) console.log(`  ${file}: ${count}`);
  for (const note of notes) console.log(`\n${note}`);
  console.log();
}
