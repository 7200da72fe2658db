/**
 * `deno task compile` makes the program and not a renamed deno.
 *
 * Compiling needs denort, the runtime without the command line, which deno downloads from dl.deno.land. Where it can
 * neither be found in deno's cache nor be downloaded these tests count as skipped. With the full deno in its place
 * (DENORT_BIN) compiling succeeds and yields a deno, which is why the result is run and asked who it is.
 */
import assert from "node:assert/strict";
import { run } from "./servers/server_process.ts";

const ROOT = new URL("..", import.meta.url).pathname;
const OWN_TARGET = `${Deno.build.arch}-unknown-linux-gnu`;
const DOWNLOAD_TIMEOUT_MS = 4000;
const COMPILE_TIMEOUT_MS = 300_000;

for (const target of ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"]) {
  const ignore = !await denortFor(target);
  Deno.test({ name: `compile makes an executable for ${target}`, ignore, fn: () => compileAndAsk(target) });
}

/** True where `deno compile` can have denort for this target. */
async function denortFor(target: string): Promise<boolean> {
  if (Deno.env.get("DENORT_BIN") && target === OWN_TARGET) return true;
  const release = `release/v${Deno.version.deno}/denort-${target}.zip`;
  const { denoDir } = JSON.parse(await run(Deno.execPath(), ["info", "--json"]));
  try {
    await Deno.stat(`${denoDir}/dl/${release}`);
    return true;
  } catch {
    return await downloadable(`https://dl.deno.land/${release}`);
  }
}

async function downloadable(url: string): Promise<boolean> {
  try {
    const response = await fetch(url, { method: "HEAD", signal: AbortSignal.timeout(DOWNLOAD_TIMEOUT_MS) });
    await response.body?.cancel();
    return response.ok;
  } catch {
    return false;
  }
}

async function compileAndAsk(target: string): Promise<void> {
  const dir = await Deno.makeTempDir({ prefix: "sluice-compile-" });
  const program = `${dir}/sluice`;
  const place = { cwd: ROOT, timeoutMs: COMPILE_TIMEOUT_MS };
  try {
    // The runner has made the bundle already, and other tests are using it.
    if (!Deno.env.get("SLUICE_BUNDLE")) await run(Deno.execPath(), ["task", "bundle"], place);
    await run(
      Deno.execPath(),
      ["task", "compile:for", "--target", target, "-o", program, "dist/sluice.js"],
      place,
    );
    if (target === OWN_TARGET) await assertIsSluice(program, dir);
    else assert.ok((await Deno.stat(program)).size > 10_000_000, "too small to hold a runtime");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** Away from the sources and with an empty environment, it must know its own version and commands. */
async function assertIsSluice(program: string, cwd: string): Promise<void> {
  const { version } = JSON.parse(await Deno.readTextFile(`${ROOT}deno.json`));
  const ask = async (arg: string) => {
    const { stdout } = await new Deno.Command(program, { args: [arg], cwd, clearEnv: true, stdin: "null" })
      .output();
    return new TextDecoder().decode(stdout);
  };
  const said = await ask("--version");
  assert.ok(said.includes(version) && !said.includes("typescript"), `--version says ${said}`);
  assert.match(await ask("--help"), /discover/);
}
